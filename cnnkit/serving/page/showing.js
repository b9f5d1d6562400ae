// What the server answers, as text, bars and pictures. Whatever comes from it is text, never HTML.

const GAP = 4;
const NARROW = 480;
const MILLISECONDS = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const PERCENT = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 2 });

const $ = (id) => document.getElementById(id);
let layers = [];

new ResizeObserver(paintLayers).observe($("layers"));

/** Show what the network says and sees; null clears it. */
export function showAnswer(answer) {
  $("empty").hidden = answer !== null;
  $("result").hidden = answer === null;
  $("unseen").hidden = answer !== null;
  $("seen-body").hidden = answer === null;
  markStale(false);
  if (answer === null) return;
  $("label").textContent = answer.label;
  $("probability").textContent = PERCENT.format(answer.probability);
  showScores(answer.probabilities);
  showTimes(answer);
  showInput(answer.input, answer.preprocessing);
}

/** Say of all that is shown whether it belongs to an earlier drawing. */
export function markStale(stale) {
  for (const id of ["result", "seen-body", "layers"]) $(id).classList.toggle("stale", stale);
}

// The rows stay and change, so that their bars can move.
function showScores(scores) {
  const list = $("scores");
  while (list.children.length > scores.length) list.lastChild.remove();
  while (list.children.length < scores.length) list.append(scoreRow());
  scores.forEach(({ label, probability }, index) => {
    const [name, track, percent] = list.children[index].children;
    name.textContent = label;
    track.firstChild.style.width = `${100 * probability}%`;
    percent.textContent = PERCENT.format(probability);
  });
}

function scoreRow() {
  const row = make("li", "");
  const track = make("span", "track");
  track.append(make("span", "fill"));
  row.append(make("span", "name"), track, make("span", "percent"));
  return row;
}

function showInput({ height, width, channels, png }, steps) {
  $("seen").src = png;
  $("seen").alt = `The image as the network sees it, ${width} by ${height} pixels`;
  $("seen-size").textContent = `${height}×${width}, ${channels === 1 ? "grey" : "colour"}`;
  const done = steps.map((step) => make("li", "", step));
  $("steps").replaceChildren(...(done.length ? done : [make("li", "none", "Nothing: it has the right form.")]));
}

function showTimes({ timings_ms: stages, roundTripMs, batch_size: batch }) {
  const times = [
    ["waiting", stages.queue],
    ["decoding", stages.decode],
    ["network", stages.inference],
    ["server in all", stages.total],
    ["round trip", roundTripMs],
  ].map(([what, time]) => [what, `${MILLISECONDS.format(time)} ms`]);
  $("times").replaceChildren(
    ...[...times, ["batch size", String(batch)]].map(([term, value]) => {
      const pair = make("div", "");
      pair.append(make("dt", "", term), make("dd", "", value));
      return pair;
    }),
  );
}

/** Show the feature maps of each layer. */
export async function showFeatures(features) {
  const sheets = await Promise.all(features.map(({ png }) => decoded(png)));
  layers = features.map((layer, index) => ({ ...layer, sheet: sheets[index] }));
  const list = $("layers");
  while (list.children.length > layers.length) list.lastChild.remove();
  while (list.children.length < layers.length) list.append(layerFigure());
  layers.forEach(({ layer, operator, channels, height, width }, index) => {
    const [caption, room] = list.children[index].children;
    const [name, about] = caption.children;
    name.textContent = layer;
    about.textContent = `${operator}: ${channels} ${channels === 1 ? "map" : "maps"} of ${height}×${width}`;
    room.firstChild.setAttribute("aria-label", `${channels} feature ${channels === 1 ? "map" : "maps"} of ${layer}`);
  });
  paintLayers();
}

function layerFigure() {
  const figure = make("figure", "layer");
  const caption = make("figcaption", "quiet");
  caption.append(make("strong", ""), make("span", ""));
  const canvas = make("canvas", "");
  canvas.setAttribute("role", "img");
  const room = make("div", "");
  room.append(canvas);
  figure.append(caption, room);
  return figure;
}

async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

// As many maps in a row as fit, each pixel of a map a whole number of pixels on the page.
function paintLayers() {
  layers.forEach(({ sheet, channels, height, width, columns }, index) => {
    const canvas = $("layers").children[index].lastChild.firstChild;
    const room = canvas.parentElement.clientWidth;
    const aim = room < NARROW ? 30 : channels <= 12 ? 84 : 56;
    const scale = Math.max(1, Math.round(aim / Math.max(height, width)));
    const [tileWidth, tileHeight] = [width * scale, height * scale];
    const rows = Math.ceil(channels / Math.max(1, Math.floor((room + GAP) / (tileWidth + GAP))));
    const across = Math.ceil(channels / rows);
    canvas.width = across * (tileWidth + GAP) - GAP;
    canvas.height = rows * (tileHeight + GAP) - GAP;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    for (let tile = 0; tile < channels; tile++) {
      const [fromX, fromY] = [(tile % columns) * (width + 1), Math.floor(tile / columns) * (height + 1)];
      const [toX, toY] = [(tile % across) * (tileWidth + GAP), Math.floor(tile / across) * (tileHeight + GAP)];
      context.drawImage(sheet, fromX, fromY, width, height, toX, toY, tileWidth, tileHeight);
    }
  });
}

function make(kind, className, text = "") {
  const element = document.createElement(kind);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
