// Pieces of the reference: elements, what a schema says, and the line for curl. Text is only ever set as text.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Follow a reference inside the document, such as `#/components/schemas/Error`. */
export function resolved(description, value) {
  if (!value?.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((found, key) => found[key], description);
}

function typeOf(description, schema, plural = "") {
  const { type, items, minimum, maximum } = schema;
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.join(" | ");
  if (type === "array") {
    const known = items && Object.keys(items).length > 0;
    return `list${plural}${known ? ` of ${typeOf(description, resolved(description, items), "s")}` : ""}`;
  }
  const name = type === undefined ? "anything" : [type].flat().join(" or ") + plural;
  const from = minimum === undefined ? "" : ` from ${minimum}`;
  return name + from + (maximum === undefined ? "" : ` to ${maximum}`);
}

/** Return the object whose fields a schema leads to, through lists and maps, or null. */
function objectIn(description, schema) {
  const found = resolved(description, schema);
  if (found.type === "array" && found.items) return objectIn(description, found.items);
  if (found.additionalProperties?.$ref) return objectIn(description, found.additionalProperties);
  return found.properties ? found : null;
}

/** Draw the fields of a schema as nested lists; null where it has none. */
export function fields(description, schema) {
  const owner = objectIn(description, schema);
  if (!owner) return null;
  const rows = Object.entries(owner.properties).map(([name, given]) => {
    const field = resolved(description, given);
    const optional = owner.required?.includes(name) ? "" : ", optional";
    return element("li", {},
      element("code", { textContent: name }),
      element("span", { className: "type", textContent: typeOf(description, field) + optional }),
      field.description ?? "",
      fields(description, field));
  });
  return element("ul", { className: "fields" }, ...rows);
}

export function parameterRow(description, parameter) {
  const where = `${typeOf(description, parameter.schema)}, in the ${parameter.in}${parameter.required ? "" : ", optional"}`;
  return element("li", {},
    element("code", { textContent: parameter.name }),
    element("span", { className: "type", textContent: where }),
    parameter.description ?? "");
}

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Return the line that does with curl what a request says. */
export function curlLine({ method, url, headers, body, file }) {
  const parts = ["curl"];
  if (method !== "GET" && !file && body === null) parts.push("-X", method);
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (file) parts.push("--data-binary", quoted(`@${file}`));
  else if (body !== null) parts.push("-d", quoted(body));
  return [...parts, quoted(url)].join(" ");
}

/** Return JSON to read: indented, and without the inside of images. */
export function readable(text) {
  try {
    const shorten = (_, value) => (typeof value === "string" && value.length > 300 ? `${value.slice(0, 60)}… (${value.length} characters)` : value);
    return JSON.stringify(JSON.parse(text, shorten), null, 2);
  } catch {
    return text.length > 20000 ? `${text.slice(0, 20000)}\n… (${text.length} characters)` : text;
  }
}

/** A text with a button that copies it. */
export function copyable(text) {
  const code = element("pre", {}, text);
  const button = element("button", { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS there is no clipboard but on this machine; a selection can be copied everywhere.
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return { box: element("div", { className: "copied" }, code, button), set: (value) => { code.textContent = value; } };
}
