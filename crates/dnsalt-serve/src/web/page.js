"use strict";
// What the page shows is what GET /tests/LINK tells; docs/reference/serve.md says what its keys mean.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 340, HEIGHT = 210, LEFT = 40, TOP = 8, BOTTOM = 190, RIGHT = 332;
const MOST = 65536;
// Of the style sheet; red and orange last, as they look like a verdict.
const COLOURS = [2, 3, 5, 6, 4, 1, 0, 7];
// Between the names: the first answers show at once, and the resolver is not asked for everything together.
const PAUSE = 400;

const $ = (id) => document.getElementById(id);
const queries = [];
let addresses = [];

function element(name, attributes = {}, ...children) {
  const svg = ["circle", "line", "text"].includes(name);
  const made = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const colour = (who) => "c" + COLOURS[Math.min(who, COLOURS.length - 1)];
const plural = (n, one, more = one + "s") => `${n} ${n === 1 ? one : more}`;

// A plot of one number of each query; the axis of x is as long as the test may become.
function plot(svg, column, name) {
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const distinct = new Set(queries.map((query) => query[column])).size;
  const said = `${plural(queries.length, "query", "queries")}, ${plural(distinct, name)}`;
  const drawn = [];
  for (let value = 0; value <= MOST; value += MOST / 4) {
    const y = BOTTOM - (value / MOST) * (BOTTOM - TOP);
    drawn.push(element("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y, y2: y }));
    const label = Math.min(value, MOST - 1);
    drawn.push(element("text", { class: "y", x: LEFT - 6, y: y + 3 }, label.toLocaleString("en")));
  }
  const most = Math.max(32, queries.length);
  queries.forEach((query, n) => {
    const cx = LEFT + 5 + (n / most) * (RIGHT - LEFT - 10);
    const cy = BOTTOM - (query[column] / MOST) * (BOTTOM - TOP);
    drawn.push(element("circle", { class: "dot " + colour(query.who), cx, cy, r: 3 }));
  });
  drawn.push(element("text", { x: LEFT, y: HEIGHT - 6 }, said));
  svg.setAttribute("aria-label", said);
  svg.replaceChildren(...drawn);
}

function bar(name, bits, most) {
  const fill = element("div", { class: bits < most / 2 ? "bar less" : "bar" });
  fill.style.width = `${Math.min(100, (bits / most) * 100)}%`;
  const track = element("div", { class: "track", "aria-hidden": "true" }, fill);
  return [element("span", {}, name), track, element("span", { class: "n" }, `${bits.toFixed(1)} bits`)];
}

// What is between backquotes is to be typed.
const prose = (text) => text.split("`").map((part, n) => (n % 2 ? element("code", {}, part) : part));

function resolver(one) {
  const head = element("h2", {}, one.addresses.join(", ") + " ",
    element("span", { class: "badge " + one.verdict }, one.verdict));
  const bars = element("div", { class: "bars" }, ...bar("port", one.ports.bits, 16),
    ...bar("query ID", one.ids.bits, 16));
  // Case is what few resolvers have: to be without is no fault.
  if (one.case_bits >= 0.1) bars.append(...bar("letter case", one.case_bits, Math.max(16, one.case_bits)));
  const card = element("section", { class: "resolver" }, head);
  if (one.verdict !== "unknown") card.append(element("p", {}, ...prose(one.reason)), bars);
  if (["broken", "weak", "unknown"].includes(one.verdict)) {
    card.append(element("p", {}, element("strong", {}, "What to do: "), ...prose(one.advice)));
  }
  if (["broken", "weak"].includes(one.verdict)) {
    card.append(element("p", {}, "If it is not yours, send the link below to who runs it, or use another resolver."));
  }
  const edns = one.edns === null ? "no EDNS" : `EDNS with ${one.edns} bytes`;
  const odds = one.even_odds_in_words === null ? "" : `; even odds after ${one.even_odds_in_words}`;
  const words = `${plural(one.queries, "query", "queries")}, ${plural(one.ports.distinct, "port")} `
    + `(${one.ports.grade}), ${plural(one.ids.distinct, "ID")} (${one.ids.grade}); `
    + `${one.cookies ? "DNS cookies" : "no DNS cookies"}; ${edns}${odds}`;
  card.append(element("p", { class: "quiet" }, words));
  return card;
}

function rows(seen) {
  const cell = (text) => element("td", { class: "n" }, String(text));
  $("rows").append(...seen.map((query) => element("tr", {}, cell(query.ms),
    element("td", {}, addresses[query.who]), cell(query.port), cell(query.id))));
}

// The same colour for a resolver everywhere, and its name beside it.
function legend() {
  const count = (who) => queries.filter((query) => query.who === who).length;
  const of = (address, who) => element("li", {}, element("span", { class: "key " + colour(who) }),
    `${address}: ${plural(count(who), "query", "queries")}`);
  $("legend").replaceChildren(...addresses.map(of));
}

function show(progress) {
  addresses = progress.addresses;
  queries.push(...progress.queries);
  const { report } = progress;
  $("badge").className = "badge " + report.verdict;
  $("badge").textContent = progress.done || report.verdict !== "unknown" ? report.verdict : "listening";
  $("headline").textContent = progress.headline;
  document.title = `${report.verdict}: port test`;
  const from = plural(addresses.length, "address", "addresses");
  const tcp = report.tcp > 0 ? `, and ${report.tcp} over TCP` : "";
  const live = progress.done ? "" : "; more may come";
  $("count").textContent = `${plural(queries.length, "query", "queries")} over UDP from ${from}${tcp}${live}`;
  plot($("ports"), "port", "port");
  plot($("ids"), "id", "ID");
  legend();
  rows(progress.queries);
  $("resolvers").replaceChildren(...report.resolvers.map(resolver));
  for (const id of ["plots", "legend", "all"]) $(id).hidden = false;
}

function end(link, text) {
  if (text) $("headline").textContent = text;
  if (text) $("badge").textContent = "nothing";
  const address = new URL("/r/" + link, location.href).href;
  $("link").href = address;
  $("link").textContent = address;
  $("link").parentElement.hidden = $("copy").hidden = Boolean(text);
  $("share").hidden = false;
  $("test").dataset.state = "done";
}

// Listens first; then the browser looks names up, by pictures that are nowhere.
async function test() {
  const answer = await fetch("/tests", { method: "POST" });
  if (!answer.ok) throw new Error(answer.statusText);
  const { link, names } = await answer.json();
  const events = new EventSource(`/tests/${link}/events`);
  events.addEventListener("open", () => names.forEach((name, n) => {
    setTimeout(() => { new Image().src = `//${name}/`; }, n * PAUSE);
  }), { once: true });
  events.addEventListener("progress", (event) => show(JSON.parse(event.data)));
  events.addEventListener("done", (event) => {
    events.close();
    const progress = JSON.parse(event.data);
    if (progress) show(progress);
    end(link, progress ? "" : "None of the names was asked for. A proxy may look them up, or an extension keeps "
      + "your browser from it.");
  });
  events.addEventListener("error", () => {
    if (events.readyState === EventSource.CLOSED) failed();
  });
}

async function recall(link) {
  const answer = await fetch("/tests/" + link);
  if (answer.ok) show(await answer.json());
  end(link, answer.ok ? "" : "This result is gone: results are kept for an hour, and in memory only.");
}

function failed() {
  $("headline").textContent = "This server does not answer any more. Try again later.";
  $("badge").textContent = "nothing";
  $("test").dataset.state = "done";
}

$("again").addEventListener("click", () => location.assign("/"));
$("copy").addEventListener("click", async () => {
  const { href } = $("link");
  try {
    await navigator.clipboard.writeText(href);
    $("copy").textContent = "Copied";
  } catch {
    // Only where TLS is: then the link is marked, to be copied by hand.
    getSelection().selectAllChildren($("link"));
  }
});

$("live").hidden = false;
const [, wanted] = location.pathname.match(/^\/r\/(\w+)$/) ?? [];
(wanted ? recall(wanted) : test()).catch(failed);
