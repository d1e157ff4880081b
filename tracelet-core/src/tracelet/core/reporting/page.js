"use strict";

// What is shown comes from the element `data`, and becomes text: nothing of it is ever read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** How much is drawn at once; a button draws the next part. */
const PART = { cards: 48, rows: 40, charts: 12, versions: 50 };
/** Of one chart: names in it, and points of each line. */
const LINES = 6;
const POINTS = 240;
/** Of one chart: points that are drawn as such, where there are no more. */
const DOTS = 80;
/** Of the graph. */
const NODES = 120;
/** Marks of one timeline. */
const MARKS = 110;

/** Text without what turns round the text around it, so that it reads as another, and without control characters. */
const fit = (text) => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const SAID = new Set(["title", "aria-label", "alt"]);

function make(tag, about = {}, ...within) {
  const one = document.createElement(tag);
  return filled(one, about, within);
}

function draw(tag, about = {}, ...within) {
  return filled(document.createElementNS(SVG, tag), about, within);
}

function filled(one, about, within) {
  for (const [key, value] of Object.entries(about)) {
    if (key === "on") for (const [event, act] of Object.entries(value)) one.addEventListener(event, act);
    else if (key === "style") Object.assign(one.style, value);
    else if (SAID.has(key) && typeof value === "string") one.setAttribute(key, fit(value));
    else if (value === true) one.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) one.setAttribute(key, value);
  }
  const inside = within.flat(Infinity).filter((part) => part !== null && part !== undefined && part !== false);
  one.append(...inside.map((part) => (typeof part === "string" ? fit(part) : part)));
  return one;
}

// Words for people

const collator = new Intl.Collator(undefined, { numeric: true });
const whole = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const second = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const when = (seconds, form = minute) => form.format(new Date(seconds * 1000));
const many = (count, one, several) => `${whole.format(count)} ${count === 1 ? one : several}`;
const versionsOf = (count) => many(count, "version", "versions");

function size(bytes) {
  let value = bytes;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 1000) return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} PB`;
}

function figure(value) {
  const short = Number(value.toPrecision(5));
  const far = short !== 0 && (Math.abs(short) >= 1e7 || Math.abs(short) < 1e-4);
  return far ? short.toExponential() : String(short);
}

// What the page knows

const versions = data.versions;
/** The versions of each name, newest first. */
const byName = new Map();
const byDigest = new Map();
versions.forEach((one, place) => {
  one.place = place;
  if (!byName.has(one.name)) byName.set(one.name, []);
  byName.get(one.name).push(one);
  if (!byDigest.has(one.digest)) byDigest.set(one.digest, []);
  byDigest.get(one.digest).push(one);
});

/** The version that an input of another one is: of those with that content, the newest that was there before it. */
function inputOf(digest, user) {
  const found = (byDigest.get(digest) || []).filter((one) => one !== user);
  return found.find((one) => one.created_at <= user.created_at) || found[found.length - 1];
}

const users = new Map();
for (const one of versions) {
  for (const digest of one.inputs) {
    const input = inputOf(digest, one);
    if (!input) continue;
    if (!users.has(input)) users.set(input, []);
    users.get(input).push(one);
  }
}

const isNewest = (one) => byName.get(one.name)[0] === one;
const backendsOf = (one) => [...new Set(one.homes.map((home) => home.backend))];

/** Text as it is compared: letters are the same in either case, and however their accents are written. */
const plainly = (text) => text.normalize("NFKC").toUpperCase().normalize("NFKC");

function searched(one) {
  if (one.searched === undefined) {
    const called = [one.version, `v${one.number}`, ...one.aliases, ...one.homes.map((home) => home.version)];
    if (isNewest(one)) called.push("latest");
    const parts = [one.type, `sha256:${one.digest}`, one.run_id, one.description, ...called.map((word) => `${one.name}@${word}`)];
    parts.push(...one.homes.flatMap((home) => [home.backend, home.uri, home.pending && "pending"]));
    parts.push(...one.files.flatMap((file) => [file.path, file.what]), ...one.references.map((reference) => reference.uri));
    parts.push(...one.metadata.map(([key, value]) => `${key}=${value}`));
    one.searched = plainly(parts.filter(Boolean).join("\n"));
  }
  return one.searched;
}

// What is asked for

const words = at("words");
const type = at("type");
const backend = at("backend");
const options = { newest: true, time: false };

function chosen() {
  const terms = plainly(words.value).split(/\s+/).filter(Boolean);
  return versions.filter(
    (one) =>
      (!type.value || one.type === type.value) &&
      (!backend.value || one.homes.some((home) => home.backend === backend.value)) &&
      terms.every((term) => searched(one).includes(term)),
  );
}

function choices(select, all, values) {
  select.append(make("option", { value: "" }, all), ...values.map((value) => make("option", { value }, value)));
  select.hidden = values.length < 2;
}

/** Draw the first part of a list into a host, and a button for the next. */
function parts(items, part, host, drawOne) {
  let shown = 0;
  const button = make("button", { type: "button", class: "quiet more", on: { click: () => next(true) } });
  function next(asked) {
    const begun = shown;
    shown = Math.min(items.length, shown + part);
    host.append(...items.slice(begun, shown).map(drawOne));
    const left = items.length - shown;
    if (left) button.textContent = `Show ${whole.format(Math.min(part, left))} more of ${whole.format(left)}`;
    else button.remove();
    if (asked) host.children[begun]?.querySelector("button, a, summary")?.focus();
  }
  next(false);
  return shown < items.length ? button : null;
}

function opener(one, text, kind = "plain") {
  return make("button", { type: "button", class: kind, on: { click: () => openDetails(one) } }, text);
}

function tagsOf(one, all = true) {
  const named = one.aliases.map((alias) => make("span", { class: "tag", title: alias }, alias));
  if (isNewest(one) && (all || !options.newest)) named.push(make("span", { class: "tag plainly" }, "latest"));
  if (one.homes.some((home) => home.pending)) named.push(make("span", { class: "tag warn" }, "pending"));
  if (troubled(one)) named.push(make("span", { class: "tag warn" }, "cannot be read"));
  const few = all ? named : named.slice(0, 4);
  return few.length ? make("div", { class: "tags" }, few) : null;
}

const troubled = (one) => one.files.some((file) => file.trouble);

// Previews

const previewsOf = (one) => one.files.filter((file) => file.preview && data.previews[file.preview]);

function table(preview, rows = Infinity, columns = Infinity) {
  const cut = (row) => row.slice(0, columns);
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, cut(preview.header).map((cell) => make("th", { scope: "col" }, cell)))),
    make("tbody", {}, preview.rows.slice(0, rows).map((row) => make("tr", {}, cut(row).map((cell) => make("td", {}, cell))))),
  );
}

/** An image of any kind is only ever the source of an `img`, where nothing in it can run. */
function media(preview, label) {
  if (preview.kind === "image") return make("img", { src: preview.source, alt: label, loading: "lazy", decoding: "async" });
  return make(preview.kind, { src: preview.source, controls: true, preload: "metadata", "aria-label": label });
}

/** Kinds of previews, the one that says most at a glance first. */
const TELLING = ["image", "video", "audio", "table", "text"];

function glimpse(one) {
  const telling = (file) => TELLING.indexOf(data.previews[file.preview].kind);
  const [file] = previewsOf(one).sort((a, b) => telling(a) - telling(b));
  const preview = file && data.previews[file.preview];
  if (!preview) return make("ul", { class: "listing" }, one.files.slice(0, 5).map(listed), one.references.slice(0, 2).map(pointed));
  if (preview.kind === "table") return table(preview, 5, 5);
  if (preview.kind === "text") return make("pre", {}, preview.text.slice(0, 600));
  return media(preview, file.path);
}

const listed = (file) => make("li", {}, make("span", {}, file.path), make("span", {}, size(file.size_bytes)));
const pointed = (reference) => make("li", {}, make("span", {}, reference.uri));

function shown(file) {
  const preview = data.previews[file.preview];
  let inside;
  if (preview.kind === "table") inside = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": file.path }, table(preview));
  else if (preview.kind === "text") inside = make("pre", { tabindex: 0, "aria-label": file.path }, preview.text);
  else inside = media(preview, file.path);
  const caption = make("figcaption", {}, file.path, preview.note ? ` (${preview.note})` : "");
  return make("figure", { class: "shown" }, caption, inside);
}

// The gallery

function gallery(found, host) {
  const newest = [...new Map([...found].reverse().map((one) => [one.name, one])).values()].reverse();
  const cards = options.newest ? newest.sort((a, b) => a.place - b.place) : found;
  const counts = new Map();
  for (const one of found) counts.set(one.name, (counts.get(one.name) || 0) + 1);
  for (const kind of [...new Set(versions.map((one) => one.type))].sort()) {
    const these = cards.filter((one) => one.type === kind);
    if (!these.length) continue;
    const grid = make("div", { class: "cards" });
    const more = parts(these, PART.cards, grid, (one) => card(one, counts.get(one.name)));
    const title = make("h3", {}, kind, make("span", {}, whole.format(these.length)));
    host.append(make("section", { class: "group", "aria-label": kind }, title, grid, more));
  }
}

function card(one, count) {
  const others = options.newest && count > 1 ? ` · ${versionsOf(count)}` : "";
  const where = data.backends.length > 1 ? ` · ${backendsOf(one).join(", ")}` : "";
  return make(
    "article",
    { class: "card" },
    make("div", { class: "window" }, glimpse(one)),
    make(
      "div",
      { class: "card-text" },
      make(
        "div",
        { class: "card-title" },
        make("h4", { title: one.name }, opener(one, one.name, "")),
        make("span", { class: "number", title: one.version }, one.version),
      ),
      tagsOf(one, false),
      make("p", { class: "aside" }, `${size(one.size_bytes)} · ${when(one.created_at, day)}${others}${where}`),
    ),
  );
}

// Timelines

function timelines(found, host) {
  const times = found.map((one) => one.created_at);
  const first = times.reduce((a, b) => Math.min(a, b), Infinity);
  const last = times.reduce((a, b) => Math.max(a, b), -Infinity);
  const span = last - first || 1;
  const place = (one) => (last === first ? 50 : 1 + (98 * (one.created_at - first)) / span);
  const names = [...new Set(found.map((one) => one.name))];
  const of = new Map(names.map((name) => [name, []]));
  for (const one of found) of.get(one.name).push(one);
  const rows = make("div", { class: "lines" });
  const width = Math.max(240, host.clientWidth - (host.clientWidth > 720 ? 228 : 0));
  const more = parts(names, PART.rows, rows, (name) => timeline(name, of.get(name), place, width));
  const axis = make("div", { class: "axis", "aria-hidden": "true" });
  const form = when(first) === when(last) ? second : minute;
  if (last > first) axis.append(make("span", {}, when(first, form)), make("span", {}, when(last, form)));
  host.append(axis, rows, more ?? "");
}

function timeline(name, these, place, width) {
  const track = make("div", { class: "track", "aria-hidden": "true" });
  const marks = new Map();
  for (const one of these) {
    const mark = Math.round((place(one) / 100) * MARKS);
    if (!marks.has(mark)) marks.set(mark, []);
    marks.get(mark).push(one);
  }
  for (const [mark, within] of marks) {
    const named = within.some((one) => one.aliases.length || one.label);
    const said = within.length === 1 ? `${within[0].version}, ${when(within[0].created_at)}` : versionsOf(within.length);
    const kinds = `dot${within.length > 1 ? " many" : ""}${named ? " named" : ""}`;
    track.append(make("span", { class: kinds, title: said, style: { left: `${(100 * mark) / MARKS}%` }, on: { click: () => openDetails(within[0]) } }));
  }
  const height = flags(track, these, place, width);
  track.style.height = `${height}px`;
  const list = make("ul", { class: "versions" });
  const details = make("details", {}, make("summary", {}, versionsOf(these.length)), list);
  details.addEventListener("toggle", () => {
    if (!details.open || list.childElementCount) return;
    const body = make("tbody");
    const more = parts(these, PART.versions, body, (one) =>
      make(
        "tr",
        {},
        make("td", {}, opener(one, one.version)),
        make("td", {}, tagsOf(one)),
        make("td", {}, when(one.created_at)),
        make("td", { class: "figure" }, size(one.size_bytes)),
      ),
    );
    list.append(make("li", { class: "scroll" }, make("table", { class: "wide" }, body), more));
  });
  const newest = these[0];
  return make(
    "article",
    { class: "timeline" },
    make("div", { class: "who" }, make("h3", { title: name }, opener(newest, name, "plain short")), make("p", { class: "aside" }, newest.type)),
    track,
    details,
  );
}

/** Put names of versions above their marks, on as many levels as keep them apart; return the height of the track. */
function flags(track, these, place, width) {
  const levels = [];
  const LEVEL = 19;
  const named = these.filter((one) => one.aliases.length || one.label);
  for (const one of named.slice(0, 24)) {
    const text = [one.label, ...one.aliases].filter(Boolean).join(", ");
    const said = text.length > 28 ? `${text.slice(0, 27)}…` : text;
    const length = said.length * 7 + 14;
    const x = (place(one) / 100) * width;
    const left = x + length > width;
    const [from, to] = left ? [x - length, x] : [x, x + length];
    let level = levels.findIndex((taken) => taken.every(([a, b]) => to < a || from > b));
    if (level < 0) level = levels.push([]) - 1;
    if (level > 4) break;
    levels[level].push([from, to]);
    const style = { left: `${place(one)}%`, bottom: `${20 + level * LEVEL}px` };
    track.append(make("span", { class: left ? "flag left" : "flag", title: text, style }, said));
  }
  return 24 + Math.max(1, Math.min(5, levels.length)) * LEVEL;
}

// Lineage

function lineage(found, host) {
  const wanted = new Set(found);
  const all = found.length === versions.length;
  // The versions that were found, and next to each those that it was made from and that were made with it.
  const near = new Set();
  for (const one of found) {
    const inputs = one.inputs.map((digest) => inputOf(digest, one)).filter(Boolean);
    const made = users.get(one) || [];
    if (one.inputs.length || made.length) near.add(one);
    if (!all) for (const other of [...inputs, ...made]) near.add(other);
  }
  const linked = [...near].sort((a, b) => a.place - b.place);
  const nodes = linked.slice(0, NODES);
  if (!nodes.length) {
    host.append(empty("No version here has inputs. A run that calls use_artifact() gives what it logs after that its inputs."));
    return;
  }
  if (linked.length > nodes.length) {
    host.append(make("p", { class: "notice" }, `The newest ${NODES} of ${whole.format(linked.length)} linked versions are drawn. Search to see others.`));
  }
  host.append(graph(nodes, all ? new Set() : wanted));
}

function graph(nodes, wanted) {
  const WIDTH = 190, HEIGHT = 46, ACROSS = 260, DOWN = 60, EDGE = 20;
  const inside = new Set(nodes);
  const edges = [];
  const outside = new Map();
  for (const one of nodes) {
    for (const digest of one.inputs) {
      const input = inputOf(digest, one);
      if (input && inside.has(input)) edges.push([input, one]);
      else if (!input) {
        if (!outside.has(digest)) outside.set(digest, { digest });
        edges.push([outside.get(digest), one]);
      }
    }
  }
  const from = new Map();
  for (const [a, b] of edges) from.set(b, [...(from.get(b) || []), a]);
  const layers = new Map();
  const layer = (one, above = new Set()) => {
    if (layers.has(one)) return layers.get(one);
    if (above.has(one)) return 0;
    const deeper = new Set(above).add(one);
    const value = (from.get(one) || []).reduce((most, input) => Math.max(most, 1 + layer(input, deeper)), 0);
    layers.set(one, value);
    return value;
  };
  // What was made from nothing stands next to the first that was made with it, and not far from all.
  const lines = reduced(edges, from);
  const next = new Map();
  for (const [a, b] of lines) next.set(a, Math.min(next.get(a) ?? Infinity, layer(b)));
  for (const [one, first] of next) if (!from.has(one)) layers.set(one, first - 1);
  const drawn = [...outside.values(), ...[...nodes].reverse()];
  const columns = [];
  for (const one of drawn) (columns[layer(one)] ||= []).push(one);
  const y = new Map();
  columns.forEach((column, number) => {
    // Next to the middle of what a version was made from, so that few lines cross.
    const middle = (one) => {
      const ys = (from.get(one) || []).filter((input) => y.has(input)).map((input) => y.get(input));
      return ys.length ? ys.reduce((a, b) => a + b) / ys.length : Infinity;
    };
    const sorted = number ? column.map((one) => [middle(one), one]).sort((a, b) => a[0] - b[0] || 0).map(([, one]) => one) : column;
    sorted.forEach((one, row) => y.set(one, row));
  });
  const deep = Math.max(...columns.map((column) => column.length));
  const width = columns.length * ACROSS - (ACROSS - WIDTH) + 2 * EDGE;
  const height = deep * DOWN - (DOWN - HEIGHT) + 2 * EDGE;
  const left = (one) => EDGE + layer(one) * ACROSS;
  const top = (one) => EDGE + y.get(one) * DOWN;
  const canvas = draw("svg", { width, height, "aria-hidden": "true" });
  const paths = lines.map(([a, b]) => {
    const [x1, y1, x2, y2] = [left(a) + WIDTH, top(a) + HEIGHT / 2, left(b), top(b) + HEIGHT / 2];
    const bend = (x2 - x1) / 2;
    const path = draw("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
    canvas.append(path);
    return [a, b, path];
  });
  const light = (one, on) => {
    for (const [a, b, path] of paths) if (a === one || b === one) path.classList.toggle("lit", on);
  };
  const hosts = drawn.map((one) => {
    const style = { left: `${left(one)}px`, top: `${top(one)}px` };
    if (!one.name) {
      const said = [make("span", {}, "outside this page"), make("span", { class: "code" }, one.digest.slice(0, 12))];
      return make("div", { class: "node outside", style, title: one.digest }, said);
    }
    const on = { click: () => openDetails(one) };
    for (const [event, lit] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) on[event] = () => light(one, lit);
    const kind = wanted.has(one) ? "node found" : "node";
    const more = [one.version, ...one.aliases].join(" · ");
    return make("button", { type: "button", class: kind, style, title: `${one.name} ${one.version}`, on }, make("span", {}, one.name), make("span", {}, more));
  });
  const inner = make("div", { class: "graph", style: { width: `${width}px`, height: `${height}px` } }, canvas, hosts);
  return make("div", { class: "graph-frame", tabindex: 0, role: "region", "aria-label": "Lineage, from inputs on the left to what was made with them" }, inner);
}

/** Of edges, those that no longer way makes needless: what a run has used is an input of all that it logs after that. */
function reduced(edges, from) {
  const above = new Map();
  const all = (one, way = new Set()) => {
    if (above.has(one)) return above.get(one);
    const found = new Set();
    if (way.has(one)) return found;
    const longer = new Set(way).add(one);
    for (const input of from.get(one) || []) {
      found.add(input);
      for (const other of all(input, longer)) found.add(other);
    }
    above.set(one, found);
    return found;
  };
  return edges.filter(([a, b]) => !(from.get(b) || []).some((input) => input !== a && all(input).has(a)));
}

// Numbers in metadata

function numbers(found, host) {
  const series = new Map();
  for (const one of [...found].reverse()) {
    for (const [key, value] of one.metadata) {
      if (typeof value !== "number") continue;
      if (!series.has(key)) series.set(key, new Map());
      const of = series.get(key);
      if (!of.has(one.name)) of.set(one.name, []);
      of.get(one.name).push({ one, x: options.time ? one.created_at : one.number, y: value });
    }
  }
  if (!series.size) {
    host.append(empty("No version here has numbers in its metadata."));
    return;
  }
  const charts = make("div", { class: "charts" });
  const count = ([, of]) => [...of.values()].reduce((most, points) => Math.max(most, points.length), 0);
  const sorted = [...series].sort((a, b) => count(b) - count(a) || collator.compare(a[0], b[0]));
  const more = parts(sorted, PART.charts, charts, ([key, of]) => chart(key, of));
  host.append(charts, more ?? "");
}

/** Of many points, those that show the shape: of each stretch the lowest and the highest. */
function thinned(points) {
  if (points.length <= POINTS) return points;
  const step = Math.ceil((2 * points.length) / POINTS);
  const kept = [];
  for (let begin = 0; begin < points.length; begin += step) {
    const stretch = points.slice(begin, begin + step);
    const low = stretch.reduce((a, b) => (b.y < a.y ? b : a));
    const high = stretch.reduce((a, b) => (b.y > a.y ? b : a));
    kept.push(...(low === high ? [low] : low.x <= high.x ? [low, high] : [high, low]));
  }
  return kept;
}

function extent(values) {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return [low, high];
}

function chart(key, of) {
  const WIDTH = 380, HEIGHT = 170, LEFT = 66, RIGHT = 12, TOP = 10, BOTTOM = 22;
  const names = [...of.keys()].sort((a, b) => of.get(b).length - of.get(a).length);
  const drawn = names.slice(0, LINES);
  const every = drawn.flatMap((name) => of.get(name));
  const [x1, x2] = extent(every.map((point) => point.x));
  const [y1, y2] = extent(every.map((point) => point.y));
  // Halves first: a span of numbers near the largest one is itself no number any more.
  const share = (value, low, high) => (high === low ? 0.5 : (value / 2 - low / 2) / (high / 2 - low / 2));
  const x = (point) => LEFT + (WIDTH - LEFT - RIGHT) * share(point.x, x1, x2);
  const y = (point) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(point.y, y1, y2);
  const says = (value) => (options.time ? when(value, day) : `v${value}`);
  const canvas = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${key}: from ${figure(y1)} to ${figure(y2)}` });
  const text = (about, said) => canvas.append(draw("text", about, said));
  for (const [value, height] of y1 === y2 ? [[y1, (HEIGHT - BOTTOM + TOP) / 2]] : [[y2, TOP], [y1, HEIGHT - BOTTOM]]) {
    canvas.append(draw("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: height, y2: height }));
    text({ x: LEFT - 8, y: height + 4, "text-anchor": "end" }, figure(value));
  }
  if (x1 === x2) text({ x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, says(x1));
  else {
    text({ x: LEFT, y: HEIGHT - 4 }, says(x1));
    text({ x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, says(x2));
  }
  drawn.forEach((name, number) => {
    const points = thinned([...of.get(name)].sort((a, b) => a.x - b.x));
    const color = `var(--series-${number + 1})`;
    const line = points.map((point) => `${x(point).toFixed(1)},${y(point).toFixed(1)}`).join(" ");
    canvas.append(draw("polyline", { points: line, fill: "none", style: { stroke: color, strokeWidth: 1.75, strokeLinejoin: "round" } }));
    if (every.length > DOTS) return;
    for (const point of points) {
      const said = `${name} ${point.one.version}: ${point.y}`;
      canvas.append(draw("circle", { cx: x(point), cy: y(point), r: 3, style: { fill: color } }, draw("title", {}, said)));
    }
  });
  const legend = drawn.map((name, number) => make("li", {}, make("i", { style: { background: `var(--series-${number + 1})` } }), name));
  if (names.length > drawn.length) legend.push(make("li", {}, `and ${many(names.length - drawn.length, "name", "names")} more`));
  return make("article", { class: "chart" }, make("h3", {}, key), canvas, make("ul", { class: "legend" }, legend), values(key, names.flatMap((name) => of.get(name))));
}

function values(key, points) {
  const host = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Values of ${key}` });
  const details = make("details", {}, make("summary", {}, many(points.length, "value", "values")), host);
  details.addEventListener("toggle", () => {
    if (!details.open || host.childElementCount) return;
    const body = make("tbody");
    const more = parts([...points].reverse(), PART.versions, body, ({ one, y }) =>
      make("tr", {}, make("td", {}, opener(one, `${one.name} ${one.version}`)), make("td", { class: "figure" }, String(y))),
    );
    host.append(make("table", { class: "wide" }, body), more ?? "");
  });
  return details;
}

// Sizes

function sizes(found, host) {
  const of = new Map();
  for (const one of found) {
    const sum = of.get(one.name) || { name: one.name, count: 0, total: 0, own: 0 };
    sum.count += 1;
    sum.total += one.size_bytes;
    sum.own += one.own_bytes;
    of.set(one.name, sum);
  }
  const sums = [...of.values()].sort((a, b) => b.total - a.total || collator.compare(a.name, b.name));
  const most = sums.length ? sums[0].total || 1 : 1;
  const body = make("tbody");
  const more = parts(sums, PART.versions, body, (sum) => {
    const bar = make(
      "div",
      { class: "meter", "aria-hidden": "true" },
      make("i", { style: { width: `${(100 * sum.own) / most}%` } }),
      make("i", { style: { width: `${(100 * (sum.total - sum.own)) / most}%` } }),
    );
    return make(
      "tr",
      {},
      make("td", {}, opener(byName.get(sum.name)[0], sum.name)),
      make("td", { class: "bar-cell" }, bar),
      make("td", { class: "figure" }, size(sum.total)),
      make("td", { class: "figure" }, size(sum.own)),
      make("td", { class: "figure" }, whole.format(sum.count)),
    );
  });
  const head = ["Name", "", "Size", "Own", "Versions"].map((title, number) => {
    const kind = number > 1 ? "figure" : number === 1 ? "bar-cell" : "";
    return make("th", { scope: "col", class: kind }, title);
  });
  const key = make(
    "div",
    { class: "key" },
    make("span", {}, make("i"), "content that no earlier version here has"),
    make("span", {}, make("i"), "the same content again"),
  );
  host.append(key, make("div", { class: "scroll" }, make("table", { class: "wide sizes" }, make("thead", {}, make("tr", {}, head)), body)), more ?? "");
}

// One version

const details = at("details");

function openDetails(one, from = "Close") {
  const back = details.open;
  details.replaceChildren(head(one), make("div", { class: "sheet" }, sheet(one)));
  details.scrollTop = 0;
  if (!back) details.showModal();
  const buttons = [...details.querySelectorAll(".sheet-buttons button:enabled")];
  (buttons.find((button) => button.textContent === from) ?? buttons.at(-1)).focus();
}

function head(one) {
  const these = byName.get(one.name);
  const place = these.indexOf(one);
  const step = (to, said) =>
    make("button", { type: "button", class: "quiet", disabled: !these[to], on: { click: () => openDetails(these[to], said) } }, said);
  return make(
    "div",
    { class: "sheet-head" },
    make("h2", { id: "details-title" }, one.name, " ", make("span", {}, one.version)),
    make(
      "div",
      { class: "sheet-buttons" },
      these.length > 1 ? [step(place + 1, "Older"), step(place - 1, "Newer")] : null,
      make("button", { type: "button", class: "quiet", on: { click: () => details.close() } }, "Close"),
    ),
  );
}

function section(title, ...within) {
  return make("section", {}, make("h3", {}, title), within);
}

function rows(pairs) {
  const row = ([key, value]) => make("tr", {}, make("th", { scope: "row" }, key), make("td", {}, value));
  return make("table", { class: "wide keys" }, make("tbody", {}, pairs.map(row)));
}

function sheet(one) {
  const within = [tagsOf(one), one.description ? make("p", { class: "said" }, one.description) : null];
  if (one.abridged) within.push(make("p", { class: "notice" }, "The page was full: metadata, files and inputs of this version are left out."));
  const about = [
    ["Type", one.type],
    ["Size", size(one.size_bytes)],
    ["Logged", when(one.created_at)],
    ["Digest", make("code", { class: "digest" }, one.digest)],
  ];
  if (one.label) about.push(["Number", `v${one.number}`]);
  if (one.run_id) about.push(["Run", make("code", {}, one.run_id)]);
  for (const home of one.homes) {
    const said = [home.version, ...home.aliases, home.pending && "only on the machine that logged it so far"].filter(Boolean);
    about.push([`In ${home.backend}`, [make("code", {}, home.uri), make("div", { class: "aside" }, said.join(" · "))]]);
  }
  within.push(make("section", {}, rows(about)));
  const seen = previewsOf(one);
  if (seen.length) within.push(section("Content", seen.map(shown)));
  const trouble = one.files.filter((file) => file.trouble);
  if (trouble.length) {
    within.push(section("Cannot be read", trouble.map((file) => make("p", { class: "notice warn" }, make("code", {}, file.path), ": ", file.trouble))));
  }
  if (one.metadata.length) within.push(section("Metadata", rows(one.metadata.map(([key, value]) => [key, String(value)])), leftOut(one.more_metadata, "key", "keys")));
  const known = one.inputs.map((digest) => inputOf(digest, one)).filter(Boolean);
  const inputs = known.sort((a, b) => collator.compare(a.name, b.name) || b.number - a.number).map((input) => opener(input, `${input.name} ${input.version}`, "quiet"));
  for (const digest of one.inputs) if (!inputOf(digest, one)) inputs.push(make("code", { title: digest }, digest.slice(0, 12)));
  if (inputs.length) within.push(section("Made from", make("div", { class: "buttons" }, inputs), leftOut(one.more_inputs, "input", "inputs")));
  const made = users.get(one) || [];
  if (made.length) {
    const host = make("div", { class: "buttons" });
    const more = parts(made, PART.versions, host, (user) => opener(user, `${user.name} ${user.version}`, "quiet"));
    within.push(section("Used for", host, more));
  }
  if (one.files.length) {
    const row = (file) => make("tr", {}, make("td", {}, make("code", {}, file.path)), make("td", {}, [file.what, file.unseen].filter(Boolean).join("; ")), make("td", { class: "figure" }, size(file.size_bytes)));
    within.push(section("Files", make("div", { class: "scroll" }, make("table", { class: "wide" }, make("tbody", {}, one.files.map(row)))), leftOut(one.more_files, "file", "files")));
  }
  if (one.references.length) {
    const pairs = one.references.map((reference) => [make("code", {}, reference.uri), reference.size_bytes === null ? "" : size(reference.size_bytes)]);
    within.push(section("References", rows(pairs), leftOut(one.more_references, "reference", "references")));
  }
  return within;
}

function leftOut(count, one, several) {
  return count ? make("p", { class: "aside" }, `and ${many(count, one, several)} more`) : null;
}

// The page

const VIEWS = {
  gallery: { title: "Gallery", show: gallery, choices: [["newest", "Newest version of each name only"]] },
  timelines: { title: "Timelines", show: timelines },
  lineage: { title: "Lineage", show: lineage },
  numbers: { title: "Numbers in metadata", show: numbers, choices: [["time", "Over time, not by version"]] },
  sizes: { title: "Sizes", show: sizes },
};

function empty(said) {
  return make("p", { class: "empty" }, said);
}

function viewName() {
  const asked = location.hash.slice(1);
  return Object.hasOwn(VIEWS, asked) ? asked : "gallery";
}

function show() {
  const name = viewName();
  const view = VIEWS[name];
  for (const tab of document.querySelectorAll(".tabs a")) {
    if (tab.hash === `#${name}`) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  at("view-title").textContent = view.title;
  at("choices").replaceChildren(
    ...(view.choices || []).map(([option, said]) => {
      const change = (event) => {
        options[option] = event.target.checked;
        fill();
      };
      const box = make("input", { type: "checkbox", checked: options[option], on: { change } });
      return make("label", {}, box, said);
    }),
  );
  fill();
}

function fill() {
  const found = chosen();
  const host = at("content");
  host.replaceChildren();
  at("reset").hidden = !(words.value || type.value || backend.value);
  at("count").textContent = found.length === versions.length ? versionsOf(found.length) : `${whole.format(found.length)} of ${versionsOf(versions.length)}`;
  if (found.length) VIEWS[viewName()].show(found, host);
  else host.append(empty(versions.length ? "Nothing fits what you search for." : "Nothing is stored here yet."));
}

let waiting = 0;
function soon() {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(fill);
}

const THEMES = ["system", "light", "dark"];

function kept(value) {
  // A browser may keep nothing for a file; then the page follows the system each time.
  try {
    if (value !== undefined) localStorage.setItem("tracelet-theme", value);
    return localStorage.getItem("tracelet-theme");
  } catch {
    return value ?? null;
  }
}

function useTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  at("theme").textContent = `Theme: ${theme}`;
}

function begin() {
  at("experiment").textContent = fit(data.experiment);
  const total = versions.reduce((sum, one) => sum + one.size_bytes, 0);
  at("summary").textContent = [
    `${versionsOf(versions.length)} of ${many(byName.size, "name", "names")}`,
    size(total),
    data.backends.join(", "),
    `made ${when(data.made_at)}`,
  ].join(" · ");
  for (const failure of data.failures) at("notices").append(make("p", { class: "notice warn", role: "alert" }, failure));
  if (data.notes.length) at("notices").append(make("p", { class: "notice" }, data.notes.join(" ")));
  choices(type, "All types", [...new Set(versions.map((one) => one.type))].sort());
  choices(backend, "All backends", data.backends);
  let theme = THEMES.includes(kept()) ? kept() : "system";
  useTheme(theme);
  at("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    kept(theme);
    useTheme(theme);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", () => {
    soon();
    words.focus();
  });
  words.addEventListener("input", soon);
  type.addEventListener("change", soon);
  backend.addEventListener("change", soon);
  details.addEventListener("click", (event) => {
    if (event.target === details) details.close();
  });
  addEventListener("hashchange", () => {
    details.close();
    show();
  });
  addEventListener("resize", () => viewName() === "timelines" && soon());
  addEventListener("keydown", (event) => {
    const writing = event.target.closest?.("input, select, textarea, dialog");
    if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    words.focus();
  });
  show();
}

begin();
