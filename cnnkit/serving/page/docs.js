// Draws /openapi.json: each address with its parameters, answers, a curl line, and a form where it can be tried.

import { copyable, curlLine, element, fields, parameterRow, readable, resolved } from "./docs-parts.js";

const model = document.getElementById("model");
const TRIED_WITH_IMAGE = "image/png";

/** What a request to an operation is, from the values that were chosen for its parameters. */
function requestOf(operation, values) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const parameter of operation.parameters) {
    const value = parameter.name === "model" ? model.value : values[parameter.name] ?? "";
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value && parameter.in === "query") query.set(parameter.name, value);
  }
  const address = new URL(`.${path}`, document.baseURI);
  address.search = query.toString().replaceAll("%2C", ",");
  const { image, json } = operation;
  if (image) headers["Content-Type"] = values.file?.type || TRIED_WITH_IMAGE;
  if (json) headers["Content-Type"] = "application/json";
  return {
    method: operation.method.toUpperCase(),
    url: address.href,
    headers,
    body: json ? values.body ?? operation.example : null,
    file: image ? values.file?.name ?? "image.png" : null,
  };
}

function described(api, path, method, raw) {
  const content = raw.requestBody?.content ?? {};
  const json = content["application/json"];
  const image = TRIED_WITH_IMAGE in content;
  return {
    ...raw,
    path,
    method,
    image,
    json: Boolean(json),
    example: json ? JSON.stringify(json.example ?? {}) : null,
    parameters: (raw.parameters ?? []).map((parameter) => resolved(api, parameter)),
    // What must be composed first, such as tensors, is not typed into a form.
    tried: !raw["x-no-browsers"] && (method === "get" || image || (json && !raw.requestBody.required)),
  };
}

function bodyPart(api, body) {
  if (!body) return null;
  const media = Object.entries(body.content);
  const schema = media.find(([, { schema }]) => schema.$ref || schema.properties)?.[1].schema;
  return element("div", {},
    element("h3", { textContent: "Body" }),
    element("p", { className: "quiet", textContent: media.map(([type]) => type).join(", ") }),
    body.description ? element("p", { textContent: body.description }) : null,
    schema ? fields(api, schema) : null);
}

function answerPart(api, responses) {
  const rows = Object.entries(responses).map(([status, given]) => {
    const response = resolved(api, given);
    const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
    const label = [
      element("span", { className: status < "400" ? "status" : "status bad", textContent: status }),
      response.description,
    ];
    const inside = content ? [
      element("p", { className: "quiet", textContent: Object.keys(response.content).join(", ") || type }),
      fields(api, content.schema),
      content.example ? element("pre", { textContent: JSON.stringify(content.example, null, 2) }) : null,
    ] : null;
    return element("li", {}, inside
      ? element("details", {}, element("summary", {}, ...label), element("div", {}, ...inside.filter(Boolean)))
      : element("p", {}, ...label));
  });
  return element("div", {}, element("h3", { textContent: "Answers" }), element("ul", { className: "answers" }, ...rows));
}

async function send(operation, values, output) {
  const request = requestOf(operation, values);
  const started = performance.now();
  try {
    const body = operation.image ? values.file : request.body;
    const { method, headers } = request;
    const response = await fetch(request.url, { method, headers, body, cache: "no-store" });
    const text = await response.text();
    const time = (performance.now() - started).toFixed(0);
    output.replaceChildren(
      element("p", {},
        element("span", { className: response.ok ? "status" : "status bad", textContent: response.status }),
        `after ${time} ms`),
      element("pre", { tabIndex: 0, textContent: readable(text) || "(an empty body)" }));
  } catch {
    output.replaceChildren(element("p", { className: "problem", textContent: "The server did not answer. Is it still running?" }));
  }
}

function field(name, control) {
  return element("label", {}, name, control);
}

/** The form that sends a request; `changed` is told when its curl line is another. */
function tryPart(operation, values, changed) {
  if (!operation.tried) return null;
  const output = element("output", {});
  const button = element("button", { type: "submit", textContent: "Send" });
  const rows = operation.parameters.filter((parameter) => parameter.name !== "model" && parameter.in !== "header").map((parameter) => {
    const known = parameter.schema.examples?.[0] ?? parameter.schema.default ?? "";
    const hint = parameter.schema.items?.enum?.join(",") ?? "";
    const input = element("input", { value: known, placeholder: hint, required: Boolean(parameter.required), spellcheck: false });
    values[parameter.name] = input.value;
    input.addEventListener("input", () => { values[parameter.name] = input.value.trim(); changed(); });
    return field(parameter.name, input);
  });
  if (operation.image) {
    const input = element("input", { type: "file", accept: "image/*", required: true });
    input.addEventListener("change", () => { [values.file] = input.files; changed(); });
    rows.push(field("image", input));
  } else if (operation.json) {
    const input = element("textarea", { value: operation.example, rows: 3, spellcheck: false });
    input.addEventListener("input", () => { values.body = input.value; changed(); });
    rows.push(field("body", input));
  }
  const form = element("form", { className: "try" }, ...rows, button, output);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await send(operation, values, output);
    button.disabled = false;
  });
  return element("div", {}, element("h3", { textContent: "Try it" }), form);
}

function operationPart(api, operation) {
  const { method, path, summary, operationId } = operation;
  const box = element("details", { className: "operation", id: operationId },
    element("summary", {},
      element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("span", { className: "path", textContent: path }),
      element("span", { className: "quiet", textContent: summary })));
  box.addEventListener("toggle", () => {
    if (!box.open || box.querySelector(".detail")) return;
    const values = {};
    const line = copyable("");
    const draw = () => line.set(curlLine(requestOf(operation, values)));
    const form = tryPart(operation, values, draw);
    const rows = operation.parameters.map((parameter) => parameterRow(api, parameter));
    box.append(element("div", { className: "detail" },
      operation.description ? element("p", { textContent: operation.description }) : null,
      element("div", {}, element("h3", { textContent: "curl" }), line.box),
      form,
      rows.length ? element("div", {}, element("h3", { textContent: "Parameters" }), element("ul", { className: "fields" }, ...rows)) : null,
      bodyPart(api, operation.requestBody),
      answerPart(api, operation.responses)));
    model.addEventListener("change", draw);
    draw();
  });
  return box;
}

function draw(api) {
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("about").textContent = api.info.description;
  const names = api.components.parameters.Model.schema.enum;
  model.replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
  model.disabled = false;
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, raw]) => described(api, path, method, raw)));
  for (const tag of api.tags) {
    const operations = all.filter((operation) => operation.tags.includes(tag.name));
    const id = tag.name.toLowerCase().replaceAll(" ", "-");
    document.getElementById("sections").append(element("a", { href: `#${id}`, textContent: tag.name }), " ");
    document.querySelector("main").append(element("section", { id },
      element("h2", { textContent: tag.name }),
      element("p", { className: "quiet", textContent: tag.description }),
      ...operations.map((operation) => operationPart(api, operation))));
  }
}

function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named?.classList.contains("operation")) named.open = true;
  named?.scrollIntoView();
}

try {
  const response = await fetch("openapi.json");
  if (!response.ok) throw new Error(String(response.status));
  draw(await response.json());
  openNamed();
  addEventListener("hashchange", openNamed);
} catch {
  document.getElementById("about").textContent = "";
  const problem = document.getElementById("problem");
  problem.textContent = "openapi.json could not be loaded. Is the server still running? Then load this page again.";
  problem.hidden = false;
}
