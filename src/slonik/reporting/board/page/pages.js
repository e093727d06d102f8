// Pages beside the tables: one model, two models item by item, score against cost, what is to be known of the board.

const chip = (name, value) => value === undefined || value === null || value === "" ? "" : h("span", { class: "chip" }, h("small", {}, name), String(value));
const section = (title, ...content) => h("section", { id: title.toLowerCase().replace(/[^a-z]+/g, "-") }, h("h2", {}, title), content);
const WORDS = new Set(["figure", "how it was made", "text", "told apart?", "engine"]);
const scroller = (...content) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scrolls sideways" }, content);
const plain = (heads, rows, about) => scroller(h("table", { class: "plain" }, about ? h("caption", {}, about) : "", h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col", class: WORDS.has(head) ? "words" : undefined }, head)))), h("tbody", {}, rows)));

function rowsOf(board, table, number) {
  return table.rows.map((row, place) => [row, place]).filter(([row]) => row[0] === number).map(([, place]) => place);
}

function modelPage(board, number, actions) {
  const model = board.models[number];
  const others = board.models.filter((other) => other.n !== model.n).map((other) => other.n);
  const pick = h("input", { list: "models", placeholder: "another model", "aria-label": "Compare with" });
  pick.addEventListener("change", () => { if (board.byName.has(pick.value)) actions.compare(model.n, pick.value); });
  const standing = { measured: "measured here", published: "published", reported: "reported" };
  return h("article", { class: "page" },
    h("p", { class: "eyebrow" }, h("a", { href: actions.tableLink() }, "← the tables")),
    h("h1", {}, model.n),
    h("div", { class: "chips" }, model.s.map((one) => h("span", { class: `chip ${one}` }, standing[one])), chip("parameters", model.parameters && write("count", model.parameters)),
      chip("dimensions", model.dimension), chip("on disk", model.bytes && write("bytes", model.bytes)), chip("licence", model.licence || "not stated"), chip("family", model.family || "not stated"),
      chip("made from", model.origin), (model.e || []).map((engine) => chip("engine", engine)), (model.by || []).map((by) => chip("by", by))),
    h("p", {}, h("label", { class: "pick" }, "Compare with ", pick), h("datalist", { id: "models" }, others.slice(0, 3000).map((name) => h("option", { value: name })))),
    lineageSection(board, model, actions), speedSection(board, number), figuresSection(board, number, actions), costsSection(board, model), discsSection(board, model),
    layersSection(board, number), errorsSection(board, number), answersSection(board, model, actions), model.card ? section("Card", h("pre", { class: "card" }, model.card)) : "");
}

function figureRow(board, table, row, column, lead) {
  const cell = cellAt(table, row, column), told = table.columns[column], how = board.hows[board.how[cell]] || {};
  const story = Object.entries(how).filter(([name]) => !["data", "protocol", "weights"].includes(name)).map(([name, value]) => `${name} ${value}`).join(", ");
  const hashes = ["data", "protocol", "weights"].filter((name) => how[name]).map((name) => `${name} ${how[name]}`).join(", ");
  const flags = board.flags[cell];
  return h("tr", { class: flags ? "doubt" : "" }, lead, h("td", { class: "words" }, told.label, told.less ? h("small", {}, " less is better") : ""), h("td", {}, h("b", {}, write(told.kind, board.value[cell]), UNITS[told.kind] ? ` ${UNITS[told.kind]}` : "", flags ? " !" : "")),
    h("td", {}, interval(board, cell, told.kind) || (told.role === "summary" ? "" : "none known")), h("td", {}, ranks(board, cell)), h("td", {}, board.n[cell] ? board.n[cell].toLocaleString("en") : ""), h("td", { class: "words small", title: hashes }, story));
}

const FIGURES = ["figure", "value", "95 % interval", "rank", "items", "how it was made"];

function figuresSection(board, number, actions, wanted = (table) => table.suite !== "overview" && table.suite !== "resources") {
  const blocks = [];
  for (const table of board.tables.filter(wanted)) {
    indexed(board, table);
    for (const row of rowsOf(board, table, number)) {
      const [, qualifier, standing, by] = table.rows[row];
      const lines = table.columns.map((_, column) => column).filter((column) => cellAt(table, row, column) >= 0).map((column) => figureRow(board, table, row, column));
      const name = [table.title, table.variant, qualifier].filter(Boolean).join(", ");
      if (lines.length) blocks.push(h("h3", {}, actions ? h("a", { href: actions.tableLink(table.id) }, name) : name, standing === "measured" ? "" : h("em", { class: "badge" }, standing === "published" ? "published" : `reported by ${by}`)), standing === "published" ? h("p", { class: "note" }, by) : "", plain(FIGURES, lines));
    }
  }
  return blocks.length ? section("All figures", blocks) : "";
}

function speedSection(board, number) {
  const blocks = [];
  for (const table of board.tables.filter((one) => one.suite === "resources")) {
    indexed(board, table);
    const rows = rowsOf(board, table, number);
    if (!rows.length) continue;
    const columns = table.columns.map((_, n) => n).filter((n) => table.columns[n].role === "cost" && rows.some((row) => cellAt(table, row, n) >= 0));
    blocks.push(plain(["engine", ...columns.map((n) => table.columns[n].label)], rows.map((row) => h("tr", {}, h("td", { class: "words" }, table.rows[row][1] || "–"), columns.map((n) => {
      const cell = cellAt(table, row, n), kind = table.columns[n].kind;
      return cell < 0 ? h("td", { class: "absent" }, "–") : h("td", {}, h("b", {}, write(kind, board.value[cell])), h("small", {}, interval(board, cell, kind)));
    }))), table.variant));
  }
  return blocks.length ? section("Speed and memory, on each machine", blocks) : "";
}

// The way from the first parent, drawn as a graph: what each step cost, and what it gained where both ends were measured.
function mainFigure(board, name) {
  const number = board.byName.get(name);
  if (number === undefined) return null;
  for (const table of board.tables.filter((one) => one.suite !== "overview" && one.suite !== "resources")) {
    indexed(board, table);
    const column = table.columns.findIndex((one) => one.role === "average");
    if (column < 0) continue;
    for (const row of rowsOf(board, table, number)) {
      const cell = cellAt(table, row, column);
      if (cell >= 0 && table.rows[row][2] !== "published") return { table, column, row, cell };
    }
  }
  return null;
}

function lineageSection(board, model, actions) {
  if (!model.lineage) return "";
  const time = (seconds) => seconds === undefined ? "" : seconds < 100 ? `${digits(seconds)} s` : seconds < 5400 ? `${digits(seconds / 60)} min` : `${digits(seconds / 3600)} h`;
  const list = (title, content) => content && Object.keys(content).length ? h("div", {}, h("h4", {}, title), h("dl", {}, Object.entries(content).flatMap(([name, value]) => [h("dt", {}, name.replace(/_/g, " ")), h("dd", {}, value)]))) : "";
  const name = (parent) => board.byName.has(parent) && parent !== model.n ? h("a", { href: actions.modelLink(parent) }, parent) : h("b", {}, parent);
  const nodes = [h("li", { class: "origin" }, h("div", { class: "node" }, h("small", {}, "first parent"), name(model.lineage[0].parents ? model.lineage[0].parents[0] : model.origin || model.n)))];
  let total = 0;
  for (const [place, step] of model.lineage.entries()) {
    total += step.seconds || 0;
    const parents = (step.parents || []).filter((_, n) => place > 0 || n > 0);
    nodes.push(h("li", {}, h("details", { class: "node" }, h("summary", {}, h("b", {}, step.command), h("span", { class: "cost" }, time(step.seconds)), step.licence ? chip("licence", step.licence) : "", step.seed === undefined ? "" : chip("seed", step.seed),
      parents.length ? h("span", {}, "with ", parents.map((parent) => [name(parent), " "])) : "", h("span", { class: "gained" }, Object.entries(step.found || {}).slice(0, 3).map(([key, value]) => chip(key.split(".").pop().replace(/_/g, " "), value)))),
      h("div", { class: "split" }, list("found", step.found), list("set", step.config), list("read", step.inputs)))));
  }
  const own = mainFigure(board, model.n), first = model.lineage[0].parents && model.lineage[0].parents[0];
  const roots = board.models.filter((other) => other.n !== model.n && other.n !== first && first && other.n.split("/").pop().split(":").pop() === first.split("/").pop()).map((other) => other.n);
  const gain = [first, ...roots].map((root) => lineageGain(board, model.n, root, own)).find(Boolean);
  nodes.push(h("li", { class: "end" }, h("div", { class: "node" }, h("small", {}, "this model"), h("b", {}, model.n), gain || (own ? h("span", {}, `${own.table.title} ${own.table.columns[own.column].label} ${write("score", board.value[own.cell])}`) : ""))));
  const siblings = board.models.filter((other) => other.n !== model.n && other.origin && other.origin === model.origin);
  return section("Lineage", h("ol", { class: "lineage" }, nodes), h("p", { class: "note" }, total ? `Steps that were timed took ${time(total)} together. ` : "", siblings.length ? ["From the same first parent: ", siblings.slice(0, 12).map((other) => [h("a", { href: actions.modelLink(other.n) }, other.n), " "])] : ""));
}

function lineageGain(board, name, root, own) {
  const other = root && mainFigure(board, root);
  if (!own || !other || own.table !== other.table || own.column !== other.column) return null;
  const [model, parent] = [board.models[board.byName.get(name)], board.models[board.byName.get(root)]];
  const told = [`${own.table.title} ${own.table.columns[own.column].label}: ${write("score", board.value[other.cell])} → ${write("score", board.value[own.cell])} (${signed(board.value[own.cell] - board.value[other.cell])})`];
  if (model.parameters && parent.parameters) told.push(`parameters ${write("count", parent.parameters)} → ${write("count", model.parameters)}`);
  if (model.bytes && parent.bytes) told.push(`bytes ${write("bytes", parent.bytes)} → ${write("bytes", model.bytes)}`);
  return h("span", { class: "gained" }, `against ${root}: `, told.map((one) => h("span", { class: "chip" }, one)));
}

const signed = (value) => minus((value > 0 ? "+" : "") + value.toFixed(4));

// Score against cost.
function choices(board) {
  const scores = [], costs = [];
  for (const table of board.tables) {
    if (table.suite === "overview") continue;
    table.columns.forEach((column, number) => {
      const name = [table.title, table.variant, column.label].filter(Boolean).join(", ");
      if (column.role === "average" || column.key === "= mean") scores.push({ name, table, number });
      if (table.suite === "resources" && column.kind !== "ratio" && column.kind !== "score") costs.push({ name: `${column.label} (${table.variant})`, table, number });
    });
  }
  costs.push({ name: "parameters", facts: "parameters", kind: "count", less: true });
  return { scores, costs };
}

function points(board, score, cost) {
  indexed(board, score.table);
  if (cost.table) indexed(board, cost.table);
  const best = new Map();
  score.table.rows.forEach(([model, qualifier, standing], row) => {
    const cell = cellAt(score.table, row, score.number);
    if (cell >= 0 && (!best.has(model) || (best.get(model).standing === "published" && standing !== "published"))) best.set(model, { value: board.value[cell], standing });
  });
  const found = [];
  const add = (model, x, engine) => { if (best.has(model) && x > 0) found.push({ model, x, y: best.get(model).value, name: board.models[model].n + (engine ? ` [${engine}]` : ""), published: best.get(model).standing === "published" }); };
  if (cost.facts) board.models.forEach((model, number) => add(number, model[cost.facts]));
  else cost.table.rows.forEach(([model, engine], row) => { const cell = cellAt(cost.table, row, cost.number); if (cell >= 0) add(model, board.value[cell], engine); });
  const less = cost.facts ? cost.less : cost.table.columns[cost.number].less, kind = cost.facts ? cost.kind : cost.table.columns[cost.number].kind;
  for (const one of found) one.front = !found.some((other) => other !== one && (less ? other.x <= one.x : other.x >= one.x) && other.y >= one.y && (other.x !== one.x || other.y !== one.y));
  return { found, less, kind };
}

function scatter(found, { x, y, kind, highlight, area, actions, less }) {
  const W = 720, H = 400, L = 64, R = 24, T = 18, B = 52;
  const xs = found.map((one) => Math.log10(one.x)), ys = found.map((one) => one.y);
  let [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const padX = (x1 - x0 || 1) * 0.08, padY = (y1 - y0 || 0.1) * 0.12;
  x0 -= padX; x1 += padX; y0 -= padY; y1 += padY;
  const at = (one) => [L + (W - L - R) * (Math.log10(one.x) - x0) / (x1 - x0), H - B - (H - T - B) * (one.y - y0) / (y1 - y0)];
  const parts = [];
  for (let n = 0; n <= 4; n++) {
    const v = y0 + (y1 - y0) * n / 4, py = H - B - (H - T - B) * n / 4, u = x0 + (x1 - x0) * n / 4, px = L + (W - L - R) * n / 4;
    parts.push(h("line", { x1: L, x2: W - R, y1: py, y2: py, class: "rule" }), h("text", { x: L - 8, y: py + 4, "text-anchor": "end" }, v.toFixed(3)), h("text", { x: px, y: H - B + 18, "text-anchor": "middle" }, write(kind, 10 ** u)));
  }
  const front = found.filter((one) => one.front).sort((a, b) => a.x - b.x);
  if (front.length > 1) parts.push(h("polyline", { class: "front", points: front.map((one) => at(one).map((v) => v.toFixed(1)).join(",")).join(" ") }));
  const top = area ? Math.max(...found.map((one) => one.area)) : 1, labels = [];
  for (const one of [...found].sort((a, b) => (a.model === highlight) - (b.model === highlight))) {
    const [px, py] = at(one), own = one.model === highlight;
    const radius = area ? 6 + 30 * Math.sqrt(one.area / top) : own ? 7 : 4.5;
    parts.push(h("circle", { cx: px.toFixed(1), cy: py.toFixed(1), r: radius.toFixed(1), class: `dot${own ? " own" : ""}${one.front ? " best" : ""}${one.published ? " published" : ""}${area ? " disc" : ""}${one.partial ? " partial" : ""}` }, h("title", {}, `${one.name}\n${y} ${write("score", one.y)}\n${x} ${write(kind, one.x)}${one.told ? "\n" + one.told : ""}`)));
    const crowded = labels.some(([a, b]) => Math.abs(a - px) < 110 && Math.abs(b - py) < 14);
    if (own || area || (one.front && !crowded && labels.length < 16)) {
      labels.push([px, py]);
      const right = px > W - 190;
      parts.push(h("text", { x: px + (right ? -1 : 1) * (area ? 0 : 10), y: py + (area ? radius + 14 : 4), "text-anchor": area ? "middle" : right ? "end" : "start", class: `label${own ? " own" : ""}` }, one.name.length > 34 ? one.name.slice(0, 33) + "…" : one.name, one.told ? ` (${one.told})` : ""));
    }
  }
  parts.push(h("text", { x: (L + W - R) / 2, y: H - 10, "text-anchor": "middle", class: "axis" }, x + (less === undefined ? "" : less ? " (less is better)" : " (more is better)")), h("text", { x: 14, y: (T + H - B) / 2, transform: `rotate(-90 14 ${(T + H - B) / 2})`, "text-anchor": "middle", class: "axis" }, y));
  return h("svg", { viewBox: `0 0 ${W} ${H}`, class: "plot", role: "img", "aria-label": `${y} against ${x}, ${found.length} points` }, parts);
}

function costsSection(board, model) {
  const { scores, costs } = choices(board), number = model && board.byName.get(model.n);
  const able = scores.map((score) => ({ score, costs: costs.filter((cost) => { const { found } = points(board, score, cost); return found.length > 1 && (number === undefined || found.some((one) => one.model === number)); }) })).filter((one) => one.costs.length);
  if (!able.length) return "";
  const first = h("select", { "aria-label": "Score" }, able.map((one, n) => h("option", { value: n }, one.score.name)));
  const second = h("select", { "aria-label": "Cost" });
  const host = h("div", {});
  const fill = () => { second.replaceChildren(...able[first.value].costs.map((cost, n) => h("option", { value: n }, cost.name))); draw(); };
  const draw = () => {
    const one = able[first.value], cost = one.costs[second.value], { found, less, kind } = points(board, one.score, cost);
    host.replaceChildren(scatter(found, { x: cost.name.split(" (")[0], y: one.score.name.split(", ").pop(), kind, highlight: number, less }), h("p", { class: "note" }, "The line joins the Pareto front: no other is at least as good on both and better on one. Each engine of a model is a point. ", found.some((point) => point.published) ? "Rings were published, not measured here." : ""));
  };
  first.addEventListener("change", fill);
  second.addEventListener("change", draw);
  fill();
  return section("Score against cost", h("div", { class: "pickers" }, first, " against ", second), scroller(host));
}

function discsSection(board, model) {
  const found = board.models.map((one, number) => ({ one, number })).filter(({ one }) => one.disc && one.disc[1] !== null).map(({ one, number }) => ({
    model: number, name: one.n, x: one.disc[0], y: one.disc[1], area: one.disc[2], partial: one.disc[3] !== null, told: one.disc[3] !== null ? `${one.disc[3]} of 9 tasks` : "", published: !one.s.includes("measured") }));
  const without = board.models.filter((one) => one.disc && one.disc[1] === null).map((one) => one.n);
  if (!found.length || (model && !model.disc)) return "";
  return section("MOROCCO: speed, score and memory", scroller(scatter(found, { x: "records per second", y: "Russian SuperGLUE score", kind: "rate", area: true, highlight: model && board.byName.get(model.n) })),
    h("p", { class: "note" }, "A disc's area is its memory. Dashed: the mean of the tasks that there are, not the score of all nine; such discs are not to be compared with whole ones. ", without.length ? `Without any score: ${without.join(", ")}.` : ""));
}

// Probing: a figure for every layer.
function layersSection(board, number) {
  const blocks = [];
  for (const table of board.tables) {
    const layered = new Map();
    indexed(board, table);
    table.columns.forEach((column, n) => { const found = / layer (\d+)/.exec(column.label); if (found) { const task = column.label.replace(found[0], ""); layered.set(task, [...(layered.get(task) || []), [Number(found[1]), n]]); } });
    for (const row of rowsOf(board, table, number)) for (const [task, columns] of layered) {
      const known = columns.map(([layer, n]) => [layer, cellAt(table, row, n)]).filter(([, cell]) => cell >= 0).sort((a, b) => a[0] - b[0]);
      if (known.length > 1) blocks.push(h("tr", {}, h("td", { class: "words" }, task), known.map(([layer, cell]) => h("td", {}, h("small", {}, `layer ${layer}`), h("b", {}, write("score", board.value[cell], true)), h("small", {}, interval(board, cell, "score"))))));
    }
  }
  return blocks.length ? section("Layer by layer", scroller(h("table", { class: "plain" }, h("tbody", {}, blocks)))) : "";
}

function errorsSection(board, number) {
  const blocks = [];
  for (const table of board.tables.filter((one) => one.suite !== "overview")) {
    const rows = rowsOf(board, table, number);
    for (const [row, column, name, content] of table.extra.filter(([row]) => rows.includes(row)).slice(0, 40)) blocks.push(extraTable(`${table.title}, ${table.variant ? table.variant + ", " : ""}${table.columns[column].label}: ${name.replace(/_/g, " ")}`, content));
  }
  return blocks.length ? section("Errors: where it is weak", blocks) : "";
}

function extraTable(title, content) {
  const value = (one) => typeof one === "number" ? (Number.isInteger(one) ? one.toLocaleString("en") : one.toFixed(4)) : one === null || one === undefined ? "–" : typeof one === "object" ? JSON.stringify(one) : String(one);
  if (Array.isArray(content) || typeof content !== "object") return h("details", {}, h("summary", {}, title), h("p", {}, value(content)));
  let entries = Object.entries(content);
  const inner = entries.every(([, one]) => one && typeof one === "object" && !Array.isArray(one));
  const heads = inner ? [...new Set(entries.flatMap(([, one]) => Object.keys(one)))] : ["value"];
  const weak = (one) => inner ? one.f1 ?? one.value ?? one.accuracy ?? Infinity : one;
  entries = entries.sort((a, b) => weak(a[1]) - weak(b[1]) || compareNames(a[0], b[0]));
  return h("details", {}, h("summary", {}, title), plain(["", ...heads], entries.map(([key, one]) => h("tr", {}, h("td", { class: "words" }, key), heads.map((head) => h("td", {}, value(inner ? one[head] : one)))))));
}

function answersSection(board, model, actions) {
  const own = board.answers.filter((one) => one.models[model.n]);
  return own.length ? section("Answers", own.map((one) => {
    const wrong = one.gold ? one.ids.map((_, n) => n).filter((n) => one.gold[n] !== one.models[model.n][n]) : [];
    return h("details", {}, h("summary", {}, `${one.suite.replace(/_/g, " ")} ${one.task}, ${one.split}: `, one.gold ? `${wrong.length} of ${one.ids.length} answered wrongly` : `${one.ids.length} answers, right ones unknown`), one.gold ? itemTable(one, wrong.slice(0, 200), [model.n]) : "");
  })) : "";
}

function itemTable(one, items, names) {
  return plain(["item", ...(one.texts ? ["text"] : []), ...(one.gold ? ["right"] : []), ...names], items.map((n) => h("tr", {}, h("td", {}, one.ids[n]), one.texts ? h("td", { class: "words long" }, one.texts[n]) : "", one.gold ? h("td", {}, one.gold[n]) : "",
    names.map((name) => h("td", { class: one.gold ? (one.models[name][n] === one.gold[n] ? "better" : "worse") : "" }, one.models[name][n])))), one.texts ? `Texts: ${one.licence}` : one.licence || "Texts are not shown: the data was not at hand (--data-dir)");
}

// Two models.
function comparePage(board, a, b, actions) {
  const [first, second] = [board.byName.get(a), board.byName.get(b)];
  const blocks = [];
  for (const table of board.tables.filter((one) => one.suite !== "overview")) {
    indexed(board, table);
    const lines = [];
    for (const x of rowsOf(board, table, first)) for (const y of rowsOf(board, table, second)) {
      if (table.suite === "resources" && table.rows[x][1] !== table.rows[y][1] && rowsOf(board, table, first).length * rowsOf(board, table, second).length > 1) continue;
      table.columns.forEach((column, n) => {
        const [p, q] = [cellAt(table, x, n), cellAt(table, y, n)];
        if (p >= 0 && q >= 0 && column.role !== "summary") lines.push(differenceRow(board, table, column, n, x, y, p, q));
      });
    }
    if (lines.length) blocks.push(h("h3", {}, [table.title, table.variant].filter(Boolean).join(", ")), plain(["", a, b, "difference", "95 % interval", "told apart?"], lines));
  }
  const shared = board.answers.filter((one) => one.models[a] && one.models[b]).map((one) => {
    const other = one.ids.map((_, n) => n).filter((n) => one.models[a][n] !== one.models[b][n]);
    const right = (name, rival) => other.filter((n) => one.gold && one.models[name][n] === one.gold[n]).length;
    return h("details", { open: true }, h("summary", {}, `${one.suite.replace(/_/g, " ")} ${one.task}, ${one.split}: ${other.length} of ${one.ids.length} items answered differently`, one.gold ? `; ${right(a)} rightly by ${a} alone, ${right(b)} by ${b} alone` : ""), itemTable(one, other.slice(0, 500), [a, b]), other.length > 500 ? h("p", { class: "note" }, `the first 500 of ${other.length}`) : "");
  });
  return h("article", { class: "page" }, h("p", { class: "eyebrow" }, h("a", { href: actions.tableLink() }, "← the tables")), h("h1", {}, h("a", { href: actions.modelLink(a) }, a), " against ", h("a", { href: actions.modelLink(b) }, b)),
    shared.length ? section("Item by item", shared) : section("Item by item", h("p", { class: "note" }, "No answers of both to the same items were given to the board: hand it the folders of predictions (slonik evaluate russian-superglue ... --predictions).")),
    blocks.length ? section("Figure by figure", blocks, h("p", { class: "note" }, "Paired: the bootstrap of the difference over the same items. Otherwise the interval is made of the two intervals, as if the items had been others, and is too wide where they were the same.")) : section("Figure by figure", h("p", {}, "They have no figure in common.")));
}

function differenceRow(board, table, column, number, x, y, p, q) {
  let paired = table.paired.find(([r, s, c]) => c === number && ((r === x && s === y) || (r === y && s === x)));
  let difference = board.value[p] - board.value[q], low = NaN, high = NaN, how = "no interval known";
  if (paired) {
    const turn = paired[0] === x ? 1 : -1;
    difference = turn * paired[3];
    [low, high] = turn > 0 ? [paired[4], paired[5]] : [-paired[5], -paired[4]];
    how = `paired, p ${digits(paired[6])}`;
  } else if (![board.low[p], board.high[p], board.low[q], board.high[q]].some(Number.isNaN)) {
    const half = Math.hypot(board.high[p] - board.low[p], board.high[q] - board.low[q]) / 2;
    [low, high] = [difference - half, difference + half];
    how = "from the two intervals";
  }
  const sure = low > 0 ? 1 : high < 0 ? -1 : 0, good = column.less ? -sure : sure;
  const text = (value) => column.kind === "score" ? signed(value) : (value > 0 ? "+" : "") + write(column.kind, value);
  return h("tr", {}, h("td", { class: "words" }, column.label), h("td", {}, write(column.kind, board.value[p])), h("td", {}, write(column.kind, board.value[q])), h("td", { class: good > 0 ? "better" : good < 0 ? "worse" : "" }, text(difference)),
    h("td", {}, Number.isNaN(low) || low === null ? "" : `${text(low)} … ${text(high)}`), h("td", { class: "words" }, sure ? "yes, " : "", how));
}

function aboutPage(board, actions) {
  const tables = board.tables.filter((table) => table.notes.length);
  return h("article", { class: "page" }, h("p", { class: "eyebrow" }, h("a", { href: actions.tableLink() }, "← the tables")), h("h1", {}, "About this board"), board.about ? h("p", { class: "lead" }, board.about) : "",
    h("p", {}, `${board.models.length.toLocaleString("en")} models, ${board.figures.toLocaleString("en")} figures. Built ${board.built} by slonik ${board.slonik}. It asks no server anything: all data lies in this page.`),
    section("How to read it", h("ul", {}, ["A figure stands over its 95 % interval; the small number beside it is its rank, as a range: models whose difference could be chance share ranks.",
      "Upright rows were measured by whoever built the board. Rows in italics were published elsewhere, on items that may differ; they are ranked apart. “Reported by” names who handed a figure in.",
      "Mean, Borda and Copeland are given to rows that have every counted task, and to no others: what is missing can neither raise nor lower anybody.",
      "A heading's and a cell's tooltip tell items, protocol, prefix, pooling, engine and seed. Figures on other items or by another protocol stand in columns of their own.",
      "Keys: arrows move, Enter sorts by a heading or opens a model, Space marks a model for a comparison, / searches, ? comes here."].map((text) => h("li", {}, text)))),
    section("Notes of the tables", tables.map((table) => [h("h3", {}, [table.title, table.variant].filter(Boolean).join(", ")), h("ul", {}, table.notes.map((note) => h("li", {}, note)))])),
    board.notices.length ? section("What was met on the way", h("ul", {}, board.notices.map((note) => h("li", {}, note)))) : "");
}
