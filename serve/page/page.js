"use strict";

const PAUSE = 250; // milliseconds without a key press before the text is sent
const EXPLAINED = 20; // the first tweets, whose words are shaded
const $ = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)} %`;
const NAMES = { disaster: "Disaster", not_disaster: "No disaster" };

let latest = 0; // the number of the newest request: answers to older ones are dropped
let timer;

async function ask(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  if ($("key").value) headers["X-API-Key"] = $("key").value;
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (answer.status === 401) $("key-row").hidden = false;
  const result = await answer.json().catch(() => ({ detail: answer.statusText }));
  if (answer.ok) return result;
  const reason = typeof result.detail === "string" ? result.detail : result.detail[0].msg;
  throw new Error(answer.status === 401 ? "This server asks for an API key." : reason);
}

function say(message, problem = false) {
  $("status").textContent = message;
  $("status").classList.toggle("problem", problem);
}

// Offsets count characters, as Python does, and not UTF-16 units.
function shade(element, text, words) {
  const characters = Array.from(text);
  const strongest = Math.max(0.05, ...words.map((w) => Math.abs(w.push)));
  let position = 0;
  element.replaceChildren();
  for (const { word, start, push } of words) {
    element.append(characters.slice(position, start).join(""));
    const mark = document.createElement("mark");
    mark.textContent = word;
    const share = Math.abs(push) / strongest;
    if (share >= 0.1) {
      const colour = push > 0 ? "--towards" : "--away";
      mark.style.backgroundColor = `rgb(var(${colour}) / ${(0.55 * share).toFixed(2)})`;
    }
    mark.title = `${push >= 0 ? "+" : "−"}${(100 * Math.abs(push)).toFixed(1)} points`;
    element.append(mark);
    position = start + Array.from(word).length;
  }
  element.append(characters.slice(position).join(""));
}

function show(item, text, answer) {
  item.className = answer.label;
  if (answer.words) shade(item.querySelector(".text"), text, answer.words);
  item.querySelector("strong").textContent = NAMES[answer.label];
  item.querySelector(".probability").textContent = `${percent(answer.probability)} disaster`;
  item.querySelector(".bar span").style.transform = `scaleX(${answer.probability})`;
  for (const button of item.querySelectorAll("button")) {
    button.onclick = () => judge(item, button, answer.id);
  }
}

async function judge(item, button, id) {
  const right = button.dataset.right === "yes";
  const thanks = item.querySelector(".thanks");
  try {
    await ask("feedback", { id, right });
    for (const b of item.querySelectorAll("button")) {
      b.setAttribute("aria-pressed", String(b === button));
      b.disabled = true;
    }
    thanks.textContent = "Noted, thank you.";
  } catch (error) {
    thanks.textContent = `Not noted: ${error.message}`;
  }
}

function newItem(text) {
  const item = $("answer").content.firstElementChild.cloneNode(true);
  item.querySelector(".text").textContent = text;
  return item;
}

let pending; // the controller that cancels the request in progress
async function update() {
  const number = ++latest;
  pending?.abort();
  pending = new AbortController();
  const texts = $("text").value.split("\n").map((t) => t.trim()).filter(Boolean);
  showCommand(texts);
  if (!texts.length) {
    $("answers").replaceChildren();
    say("");
    return;
  }
  try {
    const instances = texts.map((text) => ({ text }));
    const { predictions } = await ask("predict", { instances }, pending.signal);
    if (number !== latest) return;
    const items = texts.map(newItem);
    predictions.forEach((answer, i) => show(items[i], texts[i], answer));
    $("answers").replaceChildren(...items);
    const disasters = predictions.filter((p) => p.label === "disaster").length;
    say(texts.length === 1
      ? `${NAMES[predictions[0].label]}, ${percent(predictions[0].probability)}`
      : `${disasters} of ${texts.length} report a disaster`);
    for (let i = 0; i < Math.min(texts.length, EXPLAINED); i++) {
      const answer = await ask("explain", { text: texts[i] }, pending.signal);
      if (number !== latest) return;
      show(items[i], texts[i], { ...answer, id: predictions[i].id }); // the id in the log
    }
  } catch (error) {
    if (error.name === "AbortError" || number !== latest) return;
    say(error instanceof TypeError ? "The server cannot be reached." : error.message, true);
  }
}

function showCommand(texts) {
  const body = texts.length > 1 ? { instances: texts.map((text) => ({ text })) }
    : { text: texts[0] ?? $("text").placeholder };
  const json = JSON.stringify(body).replaceAll("'", "'\\''");
  const key = $("key").value ? " -H \"X-API-Key: $KEY\"" : "";
  $("curl").textContent = `curl ${new URL("predict", location.href)}${key} -d '${json}'`;
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
  } catch { // no permission, or no https
    getSelection().selectAllChildren($("curl"));
  }
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
}

async function describe() {
  const { model } = await (await fetch("info")).json();
  const { accuracy, f1 } = model.metrics;
  $("model").textContent = `Model ${model.version}, from ${model.base_model.name}: on tweets it `
    + `had not seen, accuracy ${percent(accuracy)}, F1 ${percent(f1)}.`;
  showCommand([]);
}

$("form").addEventListener("submit", (event) => event.preventDefault());
$("form").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(update, PAUSE); });
$("copy").addEventListener("click", copy);
describe().catch(() => say("The server cannot be reached.", true)).then(() => {
  if ($("text").value) update();
});
