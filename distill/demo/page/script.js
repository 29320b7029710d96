"use strict";

const NAMES = { teacher: "Profesor", student: "Alumno" };
const NO_CONNECTION = "No hay conexión con el servidor. ¿Sigue en marcha?";
const SCORES = "La puntuación reparte el 100 % entre las mejores respuestas posibles de cada modelo; ";

const find = (id) => document.getElementById(id);
const fields = { question: find("question"), context: find("context") };
const number = (value, digits = 0) =>
  value.toLocaleString("es-ES", { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: "always" });
// As the server counts and cuts: by code points, not by the halves of which JavaScript makes an emoji.
const characters = (text) => Array.from(text);

let description = { models: [], limits: {}, examples: [] };

function element(name, text, className) {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function say(message) {
  find("message").textContent = message;
}

function count(name) {
  const limit = description.limits[name];
  if (!limit) return true;
  const length = characters(fields[name].value).length;
  const shown = find(`${name}-count`);
  shown.textContent = `${number(length)} / ${number(limit)}`;
  shown.classList.toggle("over", length > limit);
  return length <= limit;
}

function mistake() {
  if (!fields.question.value.trim()) return ["question", "Escribe una pregunta."];
  if (!fields.context.value.trim()) return ["context", "Escribe o pega un texto."];
  const most = (name) => `caben ${number(description.limits[name])} caracteres. Acórtal${name === "question" ? "a" : "o"}.`;
  if (!count("question")) return ["question", `La pregunta es demasiado larga: ${most("question")}`];
  if (!count("context")) return ["context", `El texto es demasiado largo: ${most("context")}`];
  return null;
}

function milliseconds(value) {
  return `${number(value, value < 100 ? 1 : 0)} ms`;
}

function card(answer, context) {
  const made = find("card").content.cloneNode(true).firstElementChild;
  const model = description.models.find((each) => each.role === answer.role);
  const part = (name) => made.querySelector(`.${name}`);
  made.classList.add(answer.role);
  part("name").textContent = NAMES[answer.role];
  part("size").textContent = model.num_parameters ? `${number(model.num_parameters)} parámetros` : "";
  part("answer").textContent = answer.answer || "El texto no lo dice";
  part("answer").classList.toggle("none", !answer.answer);
  part("score").textContent = `${number(100 * answer.score, 1)} %`;
  part("time").textContent = milliseconds(answer.milliseconds);
  const text = characters(context);
  const cut = (start, end) => text.slice(start, end).join("");
  const around = part("context");
  around.append(cut(0, answer.start));
  if (answer.answer) around.append(element("mark", cut(answer.start, answer.end)));
  around.append(cut(answer.end));
  return made;
}

function verdict(answers) {
  const [teacher, student] = answers;
  const agree = teacher.start === student.start && teacher.end === student.end;
  const ratio = teacher.milliseconds / student.milliseconds;
  const times = number(Math.max(ratio, 1 / ratio), 1);
  let speed = `el alumno es ${times} veces más ${ratio >= 1 ? "rápido" : "lento"}`;
  if (times === number(1, 1)) speed = "tardan lo mismo";
  return `${agree ? "Responden lo mismo" : "Responden distinto"}; ${speed}.`;
}

function show(answers, context) {
  find("verdict").textContent = verdict(answers);
  find("cards").replaceChildren(...answers.map((answer) => card(answer, context)));
  find("results").hidden = false;
  find("results").scrollIntoView({ block: "nearest" });
  // A long text scrolls inside its card: bring the answer into view there, not the whole page.
  for (const mark of document.querySelectorAll("mark")) {
    const box = mark.parentElement;
    box.scrollTop = mark.offsetTop - box.offsetTop - box.clientHeight / 2;
  }
}

async function ask() {
  const wrong = mistake();
  say(wrong ? wrong[1] : "");
  if (wrong) {
    find("results").hidden = true;
    fields[wrong[0]].focus();
    return;
  }
  const asked = { question: fields.question.value, context: fields.context.value };
  find("ask").disabled = true;
  try {
    const response = await fetch("/api/answers", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(asked),
    });
    const result = await response.json();
    if (response.ok) {
      show(result.answers, asked.context);
    } else {
      find("results").hidden = true;
      say(result.error);
    }
  } catch {
    find("results").hidden = true;
    say(NO_CONNECTION);
  } finally {
    find("ask").disabled = false;
  }
}

function choose(example) {
  fields.question.value = example.question;
  fields.context.value = example.context;
  count("question");
  count("context");
}

async function start() {
  try {
    description = await (await fetch("/api/description")).json();
  } catch {
    say(NO_CONNECTION);
    return;
  }
  for (const example of description.examples) {
    const button = element("button", example.question, "example");
    button.type = "button";
    button.addEventListener("click", () => {
      choose(example);
      ask();
    });
    find("examples").append(button);
  }
  find("examples").hidden = !description.examples.length;
  const calibrated = description.models.every((model) => model.is_calibrated);
  const meaning = calibrated
    ? "está calibrada: dice con qué frecuencia acierta."
    : "no está calibrada, así que no dice con qué frecuencia acierta.";
  find("legend").prepend(`${SCORES}${meaning} `);
  if (description.examples.length && !fields.question.value && !fields.context.value) choose(description.examples[0]);
  count("question");
  count("context");
}

find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
fields.context.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    find("form").requestSubmit();
  }
});
for (const name of Object.keys(fields)) {
  fields[name].addEventListener("input", () => {
    count(name);
    say("");
  });
}
start();
