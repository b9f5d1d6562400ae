// A drawing of strokes, and of an image under them, in a square of side 1: dark ink on white paper. A dark page shows it
// in light ink on dark paper; what is sent is the same.

const SENT = { ink: "#101418", paper: "#ffffff" };
const DARK = { ink: "#f1f4f7", paper: "#0d1013" };
// Of the side. A digit fills about two thirds of the paper, and MNIST's strokes are an eighth of their digit.
const LINE = 0.07;
const STEP = 0.025;
const FAR = 4;
const CLOSEST = 0.002;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * The paper: takes strokes of a pointer and of the keyboard.
 *
 * Events: `change` whenever the drawing differs, `settled` when a stroke or another action has ended, `pen` when the
 * keyboard's pen goes down or up.
 */
export class Drawing extends EventTarget {
  #canvas;
  #marks = [];
  #past = [];
  #pointer = null;
  #stroke = null;
  #pen = { x: 0.5, y: 0.5, down: false, shown: false };
  #held = new Set();
  #frame = 0;
  #dark = matchMedia("(prefers-color-scheme: dark)");

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    canvas.addEventListener("pointermove", (event) => this.#pointerMove(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(name, (event) => event.pointerId === this.#pointer && this.#end());
    }
    canvas.addEventListener("keydown", (event) => this.#keyDown(event));
    canvas.addEventListener("keyup", (event) => this.#held.delete(event.key));
    canvas.addEventListener("blur", () => this.#leave());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.#dark.addEventListener("change", () => this.#repaint());
    new ResizeObserver(() => this.#repaint()).observe(canvas);
  }

  get empty() {
    return this.#marks.length === 0;
  }

  get undoable() {
    return this.#past.length > 0;
  }

  /** Whether the pen of the keyboard is down. */
  get penDown() {
    return this.#pen.down;
  }

  /** The image file that is shown, where nothing is drawn over it. */
  get file() {
    return this.#marks.length === 1 ? (this.#marks[0].file ?? null) : null;
  }

  /** Whether the browser cannot show the image file; the server may read it all the same. */
  get unshown() {
    return this.file !== null && this.#marks[0].image === null;
  }

  undo() {
    if (!this.undoable) return;
    this.#end();
    this.#marks = this.#past.pop();
    this.#changed(true);
  }

  clear() {
    if (this.empty) return;
    this.#end();
    this.#become([]);
    this.#changed(true);
  }

  /** Put an image file in place of the drawing. */
  async load(file) {
    const image = await createImageBitmap(file).catch(() => null);
    this.#end();
    this.#become([{ file, image }]);
    this.#changed(true);
  }

  /** Return the image file as it came, or a PNG of the drawing with this many pixels a side. */
  async toBlob(side) {
    if (this.file) return this.file;
    const canvas = new OffscreenCanvas(side, side);
    paint(canvas.getContext("2d"), side, this.#marks, SENT);
    return canvas.convertToBlob({ type: "image/png" });
  }

  #become(marks) {
    this.#past.push(this.#marks);
    this.#marks = marks;
  }

  #changed(settled) {
    this.#repaint();
    this.dispatchEvent(new Event("change"));
    if (settled) this.dispatchEvent(new Event("settled"));
  }

  #begin(point) {
    this.#stroke = [point];
    // What cannot be shown cannot be drawn on.
    this.#become([...this.#marks.filter((mark) => mark.image !== null), { points: this.#stroke }]);
    this.#changed(false);
  }

  #extend(point) {
    const last = this.#stroke.at(-1);
    if (Math.hypot(point.x - last.x, point.y - last.y) >= CLOSEST) this.#stroke.push(point);
  }

  #end() {
    const wasDown = this.#pen.down;
    this.#pointer = null;
    this.#pen.down = false;
    if (this.#stroke) {
      this.#stroke = null;
      this.dispatchEvent(new Event("settled"));
    }
    if (wasDown) this.dispatchEvent(new Event("pen"));
  }

  #pointerDown(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    this.#end();
    this.#pen.shown = false;
    this.#pointer = event.pointerId;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#begin(this.#point(event));
  }

  #pointerMove(event) {
    if (event.pointerId !== this.#pointer || !this.#stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#extend(this.#point(each));
    this.#changed(false);
  }

  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    // Only a pen tells its pressure; half of the range is the usual one.
    const width = event.pointerType === "pen" && event.pressure > 0 ? 0.5 + event.pressure : 1;
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height, width };
  }

  #keyDown(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pen = this.#pen;
    if (event.key in ARROWS) {
      this.#held.add(event.key);
      const far = event.shiftKey ? FAR : 1;
      for (const key of this.#held) {
        pen.x = clamp(pen.x + ARROWS[key][0] * STEP * far);
        pen.y = clamp(pen.y + ARROWS[key][1] * STEP * far);
      }
      if (pen.down) this.#extend({ x: pen.x, y: pen.y, width: 1 });
    } else if (event.key === " ") {
      if (!event.repeat) this.#toggle();
    } else if (event.key === "Escape" && pen.down) {
      this.#end();
    } else {
      return;
    }
    event.preventDefault();
    pen.shown = true;
    if (pen.down) this.#changed(false);
    else this.#repaint();
  }

  #toggle() {
    if (this.#pen.down) {
      this.#end();
      return;
    }
    this.#end();
    this.#pen.down = true;
    this.#begin({ x: this.#pen.x, y: this.#pen.y, width: 1 });
    this.dispatchEvent(new Event("pen"));
  }

  #leave() {
    this.#held.clear();
    this.#pen.shown = false;
    if (this.#pen.down) this.#end();
    this.#repaint();
  }

  #repaint() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
      if (!side) return;
      if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
      const context = this.#canvas.getContext("2d");
      // Strokes over an image are shown as they are sent: only there ink and image have to agree.
      paint(context, side, this.#marks, this.#dark.matches && this.#marks.every((mark) => mark.points) ? DARK : SENT);
      if (this.#pen.shown) paintPen(context, side, this.#pen);
    });
  }
}

function clamp(value) {
  return Math.min(Math.max(value, 0), 1);
}

function paint(context, side, marks, { ink, paper }) {
  context.fillStyle = paper;
  context.fillRect(0, 0, side, side);
  context.strokeStyle = context.fillStyle = ink;
  context.lineCap = context.lineJoin = "round";
  for (const mark of marks) {
    if (mark.points) paintStroke(context, side, mark.points);
    else if (mark.image) paintImage(context, side, mark.image);
  }
}

// Curves through the middles between points, with the points to steer them: no corners where a hand made none.
function paintStroke(context, side, points) {
  if (points.length === 1) {
    const [only] = points;
    context.beginPath();
    context.arc(only.x * side, only.y * side, (LINE * side * only.width) / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  let from = points[0];
  let width = 0;
  points.forEach((point, index) => {
    const next = points[index + 1];
    const to = next ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
    // One path as long as the width stays: where paths meet, the edge would show it.
    if (point.width !== width) {
      if (width) context.stroke();
      width = point.width;
      context.lineWidth = LINE * side * width;
      context.beginPath();
      context.moveTo(from.x * side, from.y * side);
    }
    context.quadraticCurveTo(point.x * side, point.y * side, to.x * side, to.y * side);
    from = to;
  });
  context.stroke();
}

function paintImage(context, side, image) {
  const scale = side / Math.max(image.width, image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  // Few pixels are shown as what they are.
  context.imageSmoothingEnabled = scale < 4;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, (side - width) / 2, (side - height) / 2, width, height);
}

function paintPen(context, side, pen) {
  context.save();
  context.lineWidth = Math.max(2, side / 200);
  context.strokeStyle = "#1a62b0";
  context.beginPath();
  context.arc(pen.x * side, pen.y * side, LINE * side * (pen.down ? 0.5 : 0.8), 0, 2 * Math.PI);
  context.stroke();
  context.restore();
}
