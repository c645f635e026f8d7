// What all pages share: asking the server, saying what happened, keys, light and dark. Text from files
// goes into a page as text only.

const SVG = "http://www.w3.org/2000/svg";
const MESSAGE_MS = 4000;
let timer;

export const $ = (id) => document.getElementById(id);
export const filled = (value) => value !== null && value !== undefined && String(value) !== "";

export async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; start `uls-data triage` again: nothing that was saved is lost");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

export function say(words, wrong = false) {
  const line = $("message");
  line.textContent = words;
  line.className = wrong ? "shown wrong" : "shown";
  clearTimeout(timer);
  timer = setTimeout(() => { line.className = ""; }, MESSAGE_MS);
}

export const wrong = (error) => say(error.message, true);

export function element(name, words, kind) {
  const made = document.createElement(name);
  made.textContent = words;
  if (kind) made.className = kind;
  return made;
}

// Those who listen hear the key of a button as a key, and not as part of its name.
function hearKeys() {
  for (const one of document.querySelectorAll("button kbd, label kbd")) one.ariaHidden = "true";
  for (const one of document.querySelectorAll("button[data-key]")) {
    one.setAttribute("aria-keyshortcuts", one.dataset.key === " " ? "Space" : one.dataset.key);
  }
}

export function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export function scaleBar(figure, side) {
  figure.querySelector(".scale")?.remove();
  const long = [200, 100, 50, 20, 10, 5, 2, 1].find((it) => it < side / 3) ?? 1;
  const made = element("div", "", "scale");
  made.style.width = `${100 * long / side}%`;
  made.append(element("span", `${long} mm`));
  figure.append(made);
}

// What lies left, right, above and below.
export function putLetters(figure, letters) {
  figure.querySelectorAll(".letter").forEach((letter) => letter.remove());
  ["left", "right", "top", "bottom"].forEach((side, k) => {
    figure.append(element("span", letters[k], `letter ${side}`));
  });
}

export function theme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
}

// Keys that act once, and those that act as long as they are held; returns what a button presses.
export function onKeys(once, held, ready) {
  const press = (key, repeated = false) => {
    const act = held[key] ?? (repeated ? undefined : once[key]);
    if (act && ready()) act();
    return Boolean(held[key] ?? once[key]);
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (press(key, event.repeat)) event.preventDefault();
  });
  return press;
}

// For the help, once a page has all its buttons.
export function listKeys(keys) {
  hearKeys();
  $("keys").replaceChildren(...keys.flatMap(([names, words]) => {
    if (!names) return [element("dt", words, "heading")];
    const shown = document.createElement("dt");
    shown.append(...names.split(" ").map((name) => element("kbd", name)));
    return [shown, element("dd", words)];
  }));
}
