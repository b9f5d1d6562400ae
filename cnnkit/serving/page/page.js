// The page: from the drawing to the server, and from its answer to what is seen.

import { Drawing } from "./drawing.js";
import { Latest, Problem, fetchModels, predict } from "./client.js";
import { markStale, showAnswer, showFeatures } from "./showing.js";

const DELAY_MS = 60;
const SMALLEST_SIDE = 140;
const LARGEST_SIDE = 1024;
const INVITATION = "Draw here, or drop an image";

const $ = (id) => document.getElementById(id);
const drawing = new Drawing($("canvas"));
const latest = new Latest(predictNow, DELAY_MS);
let models = [];
let announced = "";
let settled = false;

drawing.addEventListener("change", () => {
  settled = false;
  showTools();
  if (drawing.empty) {
    latest.cancel();
    hideProblem();
    showNothing();
  } else {
    latest.ask();
  }
});
drawing.addEventListener("settled", () => {
  settled = true;
  if (!drawing.empty) latest.ask();
});
drawing.addEventListener("pen", () => announce(drawing.penDown ? "Pen down." : "Pen up."));

$("undo").addEventListener("click", () => drawing.undo());
$("clear").addEventListener("click", () => drawing.clear());
$("again").addEventListener("click", () => (models.length ? latest.askNow() : listModels()));
$("features").addEventListener("toggle", () => {
  if (!$("features").open) showFeatures([]);
  else if (!drawing.empty) latest.ask();
});
$("model").addEventListener("change", () => {
  history.replaceState(null, "", `#${$("model").value}`);
  showModel();
  latest.cancel();
  if (!drawing.empty) latest.askNow();
});
$("file").addEventListener("change", () => {
  load($("file").files);
  // The same file again is a choice, too.
  $("file").value = "";
});
document.addEventListener("paste", (event) => load(event.clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("paper").classList.add("over");
});
document.addEventListener("dragleave", (event) => event.relatedTarget ?? $("paper").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("paper").classList.remove("over");
  load(event.dataTransfer.files);
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    drawing.undo();
  }
});
document.addEventListener("visibilitychange", () => document.hidden || listModels());
listModels();

function load(files) {
  if (files.length) drawing.load(files[0]);
}

async function listModels() {
  try {
    models = await fetchModels();
  } catch (problem) {
    showProblem(problem);
    if (problem.retrySeconds) setTimeout(listModels, 1000 * problem.retrySeconds);
    return;
  }
  hideProblem();
  const before = $("model").value;
  const wanted = before || location.hash.slice(1);
  $("model").replaceChildren(
    ...models.map(({ name, ready }) => {
      const option = new Option(ready ? name : `${name} (not ready)`, name);
      option.disabled = !ready;
      return option;
    }),
  );
  if (models.some(({ name }) => name === wanted)) $("model").value = wanted;
  $("model").disabled = models.length === 0;
  showModel();
  if (!drawing.empty && $("model").value !== before) latest.ask();
}

function chosen() {
  return models.find(({ name }) => name === $("model").value);
}

function showModel() {
  const model = chosen();
  $("about").textContent = model ? describe(model) : "The server serves no model.";
}

function describe(model) {
  const { channels, height, width } = model.input;
  return [
    model.dataset ? `${model.model} trained on ${model.dataset}` : model.model,
    model.labels.length === 1 ? "1 class" : `${model.labels.length} classes`,
    `${height}×${width} ${channels === 1 ? "grey" : "colour"}`,
    model.engine,
    `version ${model.version}`,
    ...model.assumptions.map((assumption) => `assumed: ${assumption}`),
  ].join(" · ");
}

// One request for the drawing as it is; the number of milliseconds after which to ask again, where there is no answer.
async function predictNow(signal) {
  const model = chosen();
  if (!model || drawing.empty) return undefined;
  const final = settled;
  const side = Math.min(Math.max(SMALLEST_SIDE, model.input.height, model.input.width), LARGEST_SIDE);
  const show = model.features && $("features").open ? ["input", "features"] : ["input"];
  try {
    const answer = await predict(model.name, await drawing.toBlob(side), show, signal);
    if (signal.aborted) return undefined;
    hideProblem();
    showAnswer(answer);
    $("features").hidden = !model.features;
    if (answer.features && $("features").open) await showFeatures(answer.features);
    if (final) announce(`${answer.label}, ${(100 * answer.probability).toFixed(0)} percent`);
  } catch (problem) {
    if (signal.aborted) return undefined;
    showProblem(problem);
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status === 404) listModels();
    if (problem.retrySeconds) {
      markStale(true);
      return 1000 * problem.retrySeconds;
    }
    showNothing();
  }
  return undefined;
}

function showTools() {
  $("undo").disabled = !drawing.undoable;
  $("clear").disabled = drawing.empty;
  $("invitation").hidden = !drawing.empty && !drawing.unshown;
  $("invitation").textContent = drawing.unshown ? `This browser cannot show ${drawing.file.name}.` : INVITATION;
}

function showNothing() {
  showAnswer(null);
  announce("");
  $("features").hidden = true;
}

function showProblem({ message, retrySeconds }) {
  const sentence = message.charAt(0).toUpperCase() + message.slice(1);
  $("problem-text").textContent = retrySeconds ? `${sentence} Trying again in ${retrySeconds} s.` : sentence;
  $("again").hidden = !retrySeconds;
  $("problem").hidden = false;
}

function hideProblem() {
  $("problem").hidden = true;
}

function announce(text) {
  if (text === announced) return;
  announced = text;
  $("announcement").textContent = text;
}
