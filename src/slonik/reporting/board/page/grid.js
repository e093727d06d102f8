// A table of thousands of rows: only what is in sight is in the page. Header and first column stay; the keyboard moves
// a cursor over cells (arrows, Page Up and Down, Home, End), Enter sorts by a heading or opens a model, Space marks it.

class Grid {
  constructor(board, table, state, actions) {
    this.board = board; this.table = indexed(board, table); this.state = state; this.actions = actions;
    this.rowHeight = 50; this.headHeight = 54;
    this.cursor = { row: -1, column: 0 };
    this.head = h("thead"); this.body = h("tbody");
    this.columnGroup = h("colgroup");
    this.element = h("table", { role: "grid", "aria-label": table.title + (table.variant ? `, ${table.variant}` : "") }, this.columnGroup, this.head, this.body);
    this.view = h("div", { class: "grid", tabindex: "0", role: "region", "aria-label": "Table; arrow keys move, Enter sorts or opens, Space marks for a comparison" }, this.element);
    this.view.addEventListener("scroll", () => this.queue(), { passive: true });
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => { this.seen = ""; this.queue(); });
    this.observer.observe(this.view);
    this.choose();
  }

  get nameWidth() { return this.view.clientWidth < 600 ? 148 : this.view.clientWidth < 1200 ? 280 : 340; }
  get cellWidth() { return 126; }

  // Which columns, which rows, in which order.
  choose() {
    const { table, board, state } = this;
    const chosen = state.cols && new Set(state.cols);
    this.columns = table.columns.map((_, number) => number).filter((number) => chosen ? chosen.has(table.columns[number].key) : table.columns[number].shown);
    this.rows = table.rows.map((_, number) => number).filter((row) => this.matches(row));
    const names = table.names;
    const sort = table.columns.findIndex((column) => column.key === state.sort);
    const sign = state.dir === "asc" ? 1 : -1;
    if (sort < 0) {
      this.rows.sort((a, b) => sign * -1 * compareNames(names[a], names[b]));
    } else {
      const values = new Float64Array(table.rows.length).fill(NaN);
      for (const row of this.rows) { const cell = cellAt(table, row, sort); if (cell >= 0) values[row] = board.value[cell]; }
      this.rows.sort((a, b) => {
        const x = values[a], y = values[b];
        if (x !== x) return y !== y ? compareNames(names[a], names[b]) : 1;
        return y !== y ? -1 : sign * (x - y) || compareNames(names[a], names[b]);
      });
    }
    this.sorted = sort;
    this.element.setAttribute("aria-rowcount", this.rows.length + 1);
    this.element.setAttribute("aria-colcount", this.columns.length + 1);
    this.cursor.row = Math.min(this.cursor.row, this.rows.length - 1);
    this.cursor.column = Math.min(this.cursor.column, this.columns.length);
    this.seen = "";
    this.draw();
  }

  matches(row) {
    const { board, state, table } = this;
    const [number, , standing] = table.rows[row], model = board.models[number];
    if (state.q) {
      const text = (table.names[row] + " " + (model.family || "") + " " + (model.licence || "") + " " + (table.rows[row][3] || "")).toLowerCase();
      if (!state.q.toLowerCase().split(/\s+/).every((word) => text.includes(word))) return false;
    }
    if (state.who && !state.who.includes(standing)) return false;
    if (state.lic && !state.lic.includes(model.licence || "not stated")) return false;
    if (state.fam && !state.fam.includes(model.family || "not stated")) return false;
    if (state.eng && !(model.e || ["not stated"]).some((engine) => state.eng.includes(engine))) return false;
    if (state.min !== undefined && !(model.parameters >= state.min * 1e6)) return false;
    if (state.max !== undefined && !(model.parameters <= state.max * 1e6)) return false;
    return true;
  }

  queue() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => { this.queued = false; this.draw(); });
  }

  draw() {
    const { view, rowHeight, cellWidth } = this, nameWidth = this.nameWidth;
    const first = Math.max(0, Math.floor(view.scrollTop / rowHeight) - 4);
    const last = Math.min(this.rows.length, Math.ceil((view.scrollTop + view.clientHeight) / rowHeight) + 4);
    const left = Math.max(0, Math.floor(view.scrollLeft / cellWidth) - 1);
    const right = Math.min(this.columns.length, Math.ceil((view.scrollLeft + view.clientWidth - nameWidth) / cellWidth) + 1);
    const seen = [first, last, left, right, nameWidth].join();
    if (seen === this.seen) return;
    this.seen = seen;
    this.element.style.width = `${nameWidth + this.columns.length * cellWidth}px`;
    const widths = [nameWidth, left * cellWidth, ...Array(Math.max(0, right - left)).fill(cellWidth), (this.columns.length - right) * cellWidth];
    this.columnGroup.replaceChildren(...widths.filter((width, n) => width || (n !== 1 && n !== widths.length - 1)).map((width) => h("col", { style: `width:${width}px` })));
    const pad = (tag, width) => (width ? [h(tag, { class: "pad", "aria-hidden": "true" })] : []);
    this.head.replaceChildren(h("tr", { "aria-rowindex": "1" }, this.heading(-1), pad("td", left), this.columns.slice(left, right).map((_, n) => this.heading(left + n)), pad("td", this.columns.length - right)));
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.line(place, left, right, pad));
    const spacer = (height) => h("tr", { class: "spacer", "aria-hidden": "true", style: `height:${height}px` });
    this.body.replaceChildren(spacer(first * rowHeight), ...rows, spacer((this.rows.length - last) * rowHeight));
    if (!this.rows.length) this.body.replaceChildren(h("tr", {}, h("td", { class: "nothing" }, "No model matches. Take a filter away.")));
    this.mark();
  }

  heading(place) {
    const { table } = this, number = place < 0 ? -1 : this.columns[place], column = table.columns[number];
    const on = place < 0 ? this.sorted < 0 : number === this.sorted;
    const way = this.state.dir === "asc" ? "ascending" : "descending";
    const about = column ? `${column.about}${column.less ? "; less is better" : ""}` : "model";
    return h("th", { scope: "col", class: place < 0 ? "name" : column.role, "aria-sort": on ? way : "none", "data-place": place, "aria-colindex": place + 2, title: about },
      h("button", { tabindex: "-1", onclick: () => this.sort(place) }, h("span", {}, column ? breakable(column.label) : "model"),
        column && UNITS[column.kind] && !/\bms\b|, s$|\/s/.test(column.label) ? h("small", {}, UNITS[column.kind]) : "", h("i", { "aria-hidden": "true" }, on ? (way === "ascending" ? "▲" : "▼") : "")));
  }

  sort(place) {
    const column = place < 0 ? null : this.table.columns[this.columns[place]];
    const key = column ? column.key : "";
    const best = column ? (column.less ? "asc" : "desc") : "asc";
    const dir = (this.state.sort || "") === key ? (this.state.dir === "asc" ? "desc" : "asc") : best;
    const began = performance.now();
    this.actions.change({ sort: key, dir });
    this.view.scrollTop = 0;
    this.view.dataset.sortMs = (performance.now() - began).toFixed(1);
  }

  line(place, left, right, pad) {
    const { table, board } = this, row = this.rows[place];
    const [number, qualifier, standing, by] = table.rows[row], model = board.models[number];
    const marked = this.actions.isMarked(model.n);
    const badge = standing === "measured" ? "" : h("em", { class: "badge", title: by }, standing === "published" ? "published" : `reported by ${by}`);
    const size = model.parameters ? `${write("count", model.parameters)}` : "";
    const told = [qualifier, size, model.licence].filter(Boolean).join(" · ");
    return h("tr", { class: `${standing}${model.baseline ? " baseline" : ""}${marked ? " marked" : ""}`, "aria-rowindex": place + 2, "data-row": place, style: `height:${this.rowHeight}px` },
      h("th", { scope: "row", class: "name", "data-place": -1, id: `c${place}_0` },
        h("div", { class: "who" }, h("a", { href: this.actions.modelLink(model.n), tabindex: "-1", title: model.n }, model.n), badge),
        h("div", { class: "told" }, h("button", { class: "mark", tabindex: "-1", "aria-pressed": String(marked), title: "Mark for a comparison", onclick: () => this.actions.mark(model.n) }, marked ? "✓" : "+"), h("span", {}, told))),
      pad("td", left), this.columns.slice(left, right).map((column, n) => this.cell(row, column, place, left + n)), pad("td", this.columns.length - right));
  }

  cell(row, number, line, place) {
    const { table, board } = this, column = table.columns[number], cell = cellAt(table, row, number);
    const attributes = { "data-place": place, id: `c${line}_${place + 1}`, "aria-colindex": place + 2 };
    if (cell < 0) return h("td", { ...attributes, class: `absent ${column.role}` }, "–");
    const published = table.rows[row][2] === "published", text = write(column.kind, board.value[cell], published);
    const ends = interval(board, cell, column.kind), rank = ranks(board, cell), flags = board.flags[cell];
    const doubt = flags & 1 ? "its interval does not hold it" : flags & 2 ? "no fraction" : flags & 4 ? (board.hows[board.how[cell]] || {}).warnings || "a warning" : "";
    const under = ends || (column.role === "summary" ? "" : "no interval");
    return h("td", { ...attributes, class: `${column.role}${doubt ? " doubt" : ""}`, title: this.story(cell, column, doubt) },
      h("b", {}, text, doubt ? " !" : ""), rank ? h("sup", { title: "rank, as a range" }, rank) : "",
      h("small", {}, under), this.whisker(cell, number));
  }

  story(cell, column, doubt) {
    const how = this.board.hows[this.board.how[cell]] || {}, n = this.board.n[cell];
    const lines = [`${column.label}: ${write(column.kind, this.board.value[cell])} ${interval(this.board, cell, column.kind)}`];
    if (doubt) lines.push(`! ${doubt}`);
    if (ranks(this.board, cell)) lines.push(`rank ${ranks(this.board, cell)}`);
    if (n) lines.push(`${n.toLocaleString("en")} items`);
    for (const [name, value] of Object.entries(how)) lines.push(`${name}: ${value}`);
    return lines.join("\n");
  }

  whisker(cell, number) {
    const [low, high] = this.table.range[number], span = high - low, kind = this.table.columns[number].kind;
    if (!(span > 0) || kind === "points" || kind === "share") return "";
    const logs = low > 0 && high / low > 50;
    const at = (x) => 100 * (logs ? Math.log(x / low) / Math.log(high / low) : (x - low) / span);
    const value = at(this.board.value[cell]);
    const from = Number.isNaN(this.board.low[cell]) ? value : at(this.board.low[cell]), to = Number.isNaN(this.board.high[cell]) ? value : at(this.board.high[cell]);
    return h("i", { class: "whisker", "aria-hidden": "true" }, h("u", { style: `left:${from.toFixed(1)}%;width:${Math.max(0, to - from).toFixed(1)}%` }), h("s", { style: `left:${value.toFixed(1)}%` }));
  }

  // The cursor of the keyboard.
  key(event) {
    if (event.target !== this.view || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.view.clientHeight / this.rowHeight) - 2), { cursor } = this;
    const steps = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1], PageDown: [page, 0], PageUp: [-page, 0] };
    if (steps[event.key]) {
      cursor.row = Math.max(-1, Math.min(this.rows.length - 1, cursor.row + steps[event.key][0]));
      cursor.column = Math.max(0, Math.min(this.columns.length, cursor.column + steps[event.key][1]));
    } else if (event.key === "Home") cursor[event.shiftKey ? "row" : "column"] = event.shiftKey ? -1 : 0;
    else if (event.key === "End") { if (event.shiftKey) cursor.row = this.rows.length - 1; else cursor.column = this.columns.length; }
    else if (event.key === "Enter" && cursor.row < 0) this.sort(cursor.column - 1);
    else if (event.key === "Enter") this.actions.open(this.modelAt(cursor.row));
    else if (event.key === " " && cursor.row >= 0) this.actions.mark(this.modelAt(cursor.row));
    else return;
    event.preventDefault();
    this.follow();
  }

  modelAt(place) { return this.board.models[this.table.rows[this.rows[place]][0]].n; }

  follow() {
    const { view, cursor, rowHeight, headHeight, cellWidth } = this, width = view.clientWidth - this.nameWidth;
    if (cursor.row >= 0) {
      const top = cursor.row * rowHeight;
      if (top < view.scrollTop) view.scrollTop = top;
      else if (top + rowHeight + headHeight > view.scrollTop + view.clientHeight - 16) view.scrollTop = top + rowHeight + headHeight - view.clientHeight + 16;
    }
    if (cursor.column > 0) {
      const left = (cursor.column - 1) * cellWidth;
      if (left < view.scrollLeft) view.scrollLeft = left;
      else if (left + cellWidth > view.scrollLeft + width) view.scrollLeft = left + cellWidth - width;
    } else view.scrollLeft = 0;
    this.seen = "";
    this.draw();
  }

  mark() {
    const { cursor } = this;
    for (const old of this.element.querySelectorAll(".at")) old.classList.remove("at");
    const line = cursor.row < 0 ? this.head.firstChild : this.body.querySelector(`tr[data-row="${cursor.row}"]`);
    const at = line && line.querySelector(`[data-place="${cursor.column - 1}"]`);
    if (at) { at.classList.add("at"); if (at.id) this.view.setAttribute("aria-activedescendant", at.id); }
  }

  // What is seen, whole: all rows that match, in their order, and the columns that are shown.
  exported() {
    const { table, board } = this;
    return this.rows.map((row) => {
      const [number, qualifier, standing, by] = table.rows[row], model = board.models[number];
      const figures = this.columns.map((column) => {
        const cell = cellAt(table, row, column);
        if (cell < 0) return null;
        const end = (x) => (Number.isNaN(x) ? null : Number(x.toPrecision(6)));
        return { value: board.value[cell], low: end(board.low[cell]), high: end(board.high[cell]), n: board.n[cell] || null, rank_low: board.rankLow[cell] || null, rank_high: board.rankHigh[cell] || null, ...(board.hows[board.how[cell]] || {}) };
      });
      return { model: model.n, qualifier, standing, by, parameters: model.parameters ?? null, licence: model.licence ?? null, figures };
    });
  }

  csv() {
    const names = this.columns.map((column) => this.table.columns[column].label);
    const head = ["model", "qualifier", "standing", "by", "parameters", "licence", ...names.flatMap((name) => [name, `${name} low`, `${name} high`, `${name} rank`])];
    const lines = this.exported().map((row) => [row.model, row.qualifier, row.standing, row.by, row.parameters, row.licence,
      ...row.figures.flatMap((one) => one ? [one.value, one.low, one.high, one.rank_low ? (one.rank_low === one.rank_high ? one.rank_low : `${one.rank_low}–${one.rank_high}`) : ""] : ["", "", "", ""])]);
    return "\ufeff" + [head, ...lines].map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
  }

  json() {
    const columns = this.columns.map((column) => this.table.columns[column]);
    return JSON.stringify({ table: this.table.title, variant: this.table.variant, columns: columns.map(({ key, label, kind, less, about }) => ({ key, label, kind, less, about })),
      rows: this.exported().map((row) => ({ ...row, figures: Object.fromEntries(row.figures.map((one, n) => [columns[n].key, one]).filter(([, one]) => one)) })) }, null, 1);
  }
}

// A heading may break between the words of a name that has no spaces.
const breakable = (text) => text.replace(/\S{14,}/g, (word) => word.replace(/([a-zа-я0-9])(?=[A-ZА-Я])|([_:./-])(?=[^\d\s])/g, "$1$2\u200b"));
const collator = new Intl.Collator("en", { numeric: true });
const compareNames = (a, b) => collator.compare(a, b);
