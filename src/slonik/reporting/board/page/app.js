// The frame: tables as tabs, filters, columns, links. The page's address holds the whole state behind its #.

const LISTS = ["cols", "who", "lic", "fam", "eng"];

class App {
  constructor(board) {
    this.board = board;
    this.marked = [];
    this.root = document.getElementById("app");
    this.live = h("p", { class: "hidden", role: "status", "aria-live": "polite" });
    window.addEventListener("hashchange", () => this.route());
    document.addEventListener("keydown", (event) => this.key(event));
    const theme = this.remembered();
    if (theme) document.documentElement.dataset.theme = theme;
    this.frame();
    this.route();
  }

  remembered() { try { return localStorage.getItem("board-theme"); } catch { return null; } }

  frame() {
    const { board } = this;
    this.tabs = h("nav", { "aria-label": "Tables" });
    this.main = h("main", {});
    this.tray = h("div", { class: "tray", hidden: true });
    this.root.replaceChildren(
      h("header", {}, h("a", { class: "brand", href: "#" }, h("b", {}, board.title), h("small", {}, `${board.models.length.toLocaleString("en")} models`)), this.tabs,
        h("div", { class: "tools" }, h("a", { href: "#view=costs" }, "Costs"), h("a", { href: "#view=about" }, "About"), h("button", { title: "Light or dark", "aria-label": "Light or dark", onclick: () => this.theme() }, "◐"))),
      this.main, this.tray, this.live);
    document.title = board.title;
  }

  theme() {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("board-theme", document.documentElement.dataset.theme); } catch { /* a page without storage forgets it */ }
  }

  // The address is read; what it names and this board does not have is said.
  route() {
    const wanted = new URLSearchParams(location.hash.slice(1)), { board } = this, unknown = [];
    this.state = { table: board.tables[0].id };
    if (wanted.has("t")) { if (board.byId.has(wanted.get("t"))) this.state.table = wanted.get("t"); else unknown.push(`the table ${wanted.get("t")}`); }
    for (const name of ["q", "sort", "dir"]) if (wanted.has(name)) this.state[name] = wanted.get(name);
    for (const name of ["min", "max"]) if (wanted.get(name) && Number.isFinite(Number(wanted.get(name)))) this.state[name] = Number(wanted.get(name));
    for (const name of LISTS) if (wanted.has(name)) this.state[name] = wanted.getAll(name);
    const table = board.byId.get(this.state.table), keys = new Set(table.columns.map((column) => column.key));
    const keyOf = (name) => keys.has(name) ? name : (table.columns.find((column) => column.label === name) || { key: name }).key; // a heading does as well
    if (this.state.sort) this.state.sort = keyOf(this.state.sort);
    if (this.state.cols) this.state.cols = this.state.cols.map(keyOf);
    if (this.state.sort && !keys.has(this.state.sort)) { unknown.push(`the column ${this.state.sort}`); delete this.state.sort; }
    if (this.state.cols) { unknown.push(...this.state.cols.filter((key) => !keys.has(key) && key).map((key) => `the column ${key}`)); this.state.cols = this.state.cols.filter((key) => keys.has(key)); }
    if (this.state.sort === undefined) Object.assign(this.state, defaultSort(table));
    for (const name of ["model", "a", "b"]) if (wanted.has(name) && !board.byName.has(wanted.get(name))) unknown.push(`the model ${wanted.get(name)}`);
    const views = { about: () => aboutPage(board, this.actions()), costs: () => h("article", { class: "page" }, h("h1", {}, "Score against cost"), costsSection(board), discsSection(board)) };
    let page = null;
    if (wanted.has("model") && board.byName.has(wanted.get("model"))) page = modelPage(board, board.byName.get(wanted.get("model")), this.actions());
    else if (board.byName.has(wanted.get("a")) && board.byName.has(wanted.get("b"))) page = comparePage(board, wanted.get("a"), wanted.get("b"), this.actions());
    else if (views[wanted.get("view")]) page = views[wanted.get("view")]();
    else if (wanted.has("view")) unknown.push(`the page ${wanted.get("view")}`);
    this.drawTabs(page !== null);
    this.main.className = page ? "reading" : "tables";
    if (page) { this.main.replaceChildren(page); window.scrollTo(0, 0); this.grid = null; } else this.showTable(table);
    if (unknown.length) this.main.prepend(h("p", { class: "unknown", role: "alert" }, `This link names what this board does not have: ${unknown.join(", ")}.`));
    this.drawTray();
  }

  drawTabs(away) {
    const titles = new Map();
    for (const table of this.board.tables) titles.set(table.title, (titles.get(table.title) || 0) + 1);
    this.tabs.replaceChildren(...this.board.tables.map((table) => h("a", { href: this.tableLink(table.id), "aria-current": !away && table.id === this.state.table ? "page" : undefined, title: table.variant }, table.title, titles.get(table.title) > 1 ? h("small", {}, shortVariant(table)) : "")));
    const current = this.tabs.querySelector("[aria-current]");
    if (current) current.scrollIntoView({ block: "nearest", inline: "center" });
  }

  showTable(table) {
    const { state } = this;
    this.grid = new Grid(this.board, table, state, this.actions());
    const search = h("input", { type: "search", placeholder: "Search models", "aria-label": "Search models, licences, families", value: state.q || "", id: "search" });
    search.addEventListener("input", () => this.change({ q: search.value || undefined }));
    search.addEventListener("keydown", (event) => { if (event.key === "Escape" || event.key === "ArrowDown") { event.preventDefault(); this.grid.view.focus(); } });
    this.count = h("span", { class: "count", role: "status" });
    const panel = h("div", { class: "panel", hidden: true });
    const opener = (name, fill) => {
      const button = h("button", { "aria-expanded": "false", onclick: () => {
        const open = button.getAttribute("aria-expanded") !== "true";
        for (const other of bar.querySelectorAll("[aria-expanded]")) other.setAttribute("aria-expanded", "false");
        button.setAttribute("aria-expanded", String(open));
        panel.hidden = !open;
        panel.replaceChildren(...(open ? fill() : []));
      } }, name);
      return button;
    };
    const file = `${table.id}-board`;
    const bar = h("div", { class: "bar" }, search, opener("Filter", () => this.filters(table)), opener("Columns", () => this.columns(table)), this.count, h("span", { class: "grow" }),
      h("button", { onclick: () => download(`${file}.csv`, "text/csv", this.grid.csv()) }, "CSV"), h("button", { onclick: () => download(`${file}.json`, "application/json", this.grid.json()) }, "JSON"), h("button", { onclick: () => this.copyLink() }, "Link"));
    const notes = h("details", { class: "notes" }, h("summary", {}, table.variant ? `${table.title}, ${table.variant}` : table.title, ": how to read this table"), h("ul", {}, table.notes.map((note) => h("li", {}, note)), h("li", {}, "Intervals are of 95 %. Rows in italics were published elsewhere and are ranked apart.")));
    this.main.replaceChildren(bar, panel, this.grid.view, notes);
    this.grid.seen = "";
    this.grid.draw();
    this.counted();
  }

  counted() {
    const shown = this.grid.rows.length, all = this.grid.table.rows.length;
    this.count.textContent = shown === all ? `${all.toLocaleString("en")} rows` : `${shown.toLocaleString("en")} of ${all.toLocaleString("en")} rows`;
  }

  filters(table) {
    const { board, state } = this, models = [...new Set(table.rows.map((row) => row[0]))].map((number) => board.models[number]);
    const tally = (values) => [...values.reduce((map, value) => map.set(value, (map.get(value) || 0) + 1), new Map())].sort((a, b) => b[1] - a[1] || compareNames(a[0], b[0]));
    const boxes = (title, name, values) => {
      const found = tally(values);
      if (!found.length) return "";
      return h("fieldset", {}, h("legend", {}, title), h("div", { class: "boxes" }, found.slice(0, 200).map(([value, count]) => {
        const box = h("input", { type: "checkbox", checked: !state[name] || state[name].includes(value) });
        box.addEventListener("change", () => {
          const all = found.map(([one]) => one), chosen = all.filter((one) => one === value ? box.checked : !state[name] || state[name].includes(one));
          this.change({ [name]: chosen.length === all.length ? undefined : chosen });
        });
        return h("label", {}, box, value === "measured" ? "measured here" : value, h("small", {}, count));
      })), h("button", { class: "quiet", onclick: (event) => { this.change({ [name]: [] }); event.target.closest("fieldset").querySelectorAll("input").forEach((box) => { box.checked = false; }); } }, "none"),
        h("button", { class: "quiet", onclick: (event) => { this.change({ [name]: undefined }); event.target.closest("fieldset").querySelectorAll("input").forEach((box) => { box.checked = true; }); } }, "all"));
    };
    const size = (name, label) => {
      const field = h("input", { type: "number", min: "0", step: "any", inputmode: "decimal", value: state[name] ?? "", "aria-label": label });
      field.addEventListener("input", () => this.change({ [name]: field.value === "" ? undefined : Number(field.value) }));
      return h("label", {}, label, field);
    };
    return [h("fieldset", {}, h("legend", {}, "Size, millions of parameters"), h("div", { class: "boxes" }, size("min", "at least"), size("max", "at most")), h("small", {}, "models of unknown size are left out then")),
      boxes("Measured here or published", "who", table.rows.map((row) => row[2])), boxes("Licence", "lic", models.map((model) => model.licence || "not stated")), boxes("Family", "fam", models.map((model) => model.family || "not stated")), boxes("Engine", "eng", models.flatMap((model) => model.e || ["not stated"])),
      h("p", {}, h("button", { onclick: () => { this.change({ q: undefined, who: undefined, lic: undefined, fam: undefined, eng: undefined, min: undefined, max: undefined }); this.route(); } }, "Clear all filters"))];
  }

  columns(table) {
    const { state } = this, shown = () => state.cols || table.columns.filter((column) => column.shown).map((column) => column.key);
    const box = (column) => {
      const field = h("input", { type: "checkbox", checked: shown().includes(column.key) });
      field.addEventListener("change", () => { const now = new Set(shown()); if (field.checked) now.add(column.key); else now.delete(column.key); this.change({ cols: table.columns.map((one) => one.key).filter((key) => now.has(key)) }); });
      return h("label", { title: column.about }, field, column.label);
    };
    const set = (cols) => { this.change({ cols }); this.main.querySelectorAll(".panel input").forEach((field, n) => { field.checked = shown().includes(table.columns[n].key); }); };
    return [h("fieldset", {}, h("legend", {}, "Columns that are shown"), h("div", { class: "boxes" }, table.columns.map(box)), h("button", { class: "quiet", onclick: () => set(undefined) }, "as given"), h("button", { class: "quiet", onclick: () => set(table.columns.map((column) => column.key)) }, "all"), h("button", { class: "quiet", onclick: () => set([]) }, "none"))];
  }

  // A change of the state: the table is drawn anew, the address follows.
  change(changes) {
    Object.assign(this.state, changes);
    for (const name of Object.keys(this.state)) if (this.state[name] === undefined) delete this.state[name];
    history.replaceState(null, "", this.address());
    if (!this.grid) return;
    this.grid.state = this.state;
    this.grid.choose();
    this.counted();
    if (changes.sort !== undefined) this.live.textContent = `sorted by ${(this.grid.table.columns[this.grid.sorted] || { label: "model" }).label}, ${this.state.dir === "asc" ? "ascending" : "descending"}`;
  }

  address(state = this.state) {
    const told = new URLSearchParams([["t", state.table]]), table = this.board.byId.get(state.table), usual = defaultSort(table);
    for (const name of ["q", "min", "max"]) if (state[name] !== undefined && state[name] !== "") told.set(name, state[name]);
    if (state.sort !== usual.sort || state.dir !== usual.dir) { told.set("sort", state.sort || ""); told.set("dir", state.dir || "desc"); }
    for (const name of LISTS) if (state[name]) for (const value of state[name].length ? state[name] : [""]) told.append(name, value);
    return `#${told}`;
  }

  tableLink(id) { return id ? `#${new URLSearchParams({ t: id })}` : this.state && this.state.table ? this.address() : "#"; }

  actions() {
    return {
      change: (changes) => this.change(changes), isMarked: (name) => this.marked.includes(name), mark: (name) => this.mark(name),
      open: (name) => { location.hash = new URLSearchParams({ t: this.state.table, model: name }); }, modelLink: (name) => `#${new URLSearchParams({ t: this.state.table, model: name })}`,
      tableLink: (id) => this.tableLink(id), compare: (a, b) => { location.hash = new URLSearchParams({ t: this.state.table, a, b }); },
    };
  }

  mark(name) {
    this.marked = this.marked.includes(name) ? this.marked.filter((one) => one !== name) : [...this.marked, name].slice(-2);
    this.drawTray();
    if (this.grid) { this.grid.seen = ""; this.grid.draw(); }
  }

  drawTray() {
    this.tray.hidden = !this.marked.length;
    const [a, b] = this.marked;
    this.tray.replaceChildren(...(a ? [h("b", {}, a), b ? h("b", {}, b) : h("span", {}, "mark a second model to compare"), b ? h("a", { class: "button", href: `#${new URLSearchParams({ t: this.state.table, a, b })}` }, "Compare item by item") : "", h("button", { class: "quiet", onclick: () => { this.marked = []; this.mark(""); this.marked = []; this.drawTray(); } }, "clear")].filter(Boolean) : []));
  }

  copyLink() {
    history.replaceState(null, "", this.address());
    const said = (text) => { this.live.textContent = text; this.count.textContent = text; setTimeout(() => this.grid && this.counted(), 2500); };
    const copied = navigator.clipboard ? navigator.clipboard.writeText(location.href) : Promise.reject(new Error("no clipboard"));
    copied.then(() => said("link copied"), () => said("the address bar holds the link"));
  }

  key(event) {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && document.getElementById("search")) { event.preventDefault(); document.getElementById("search").focus(); }
    if (event.key === "?") location.hash = "view=about";
    if (event.key === "Escape" && !this.grid) location.hash = this.tableLink().slice(1);
  }
}

function defaultSort(table) {
  const column = table.columns.find((one) => one.key === "= mean") || table.columns.find((one) => one.role === "average") || table.columns.find((one) => one.role === "task") || table.columns[0];
  return column ? { sort: column.key, dir: column.less ? "asc" : "desc" } : { sort: "", dir: "asc" };
}

function shortVariant(table) {
  const text = table.suite === "resources" ? table.variant.split(",")[0] : table.variant;
  return text.length > 22 ? text.slice(0, 21) + "…" : text || "all";
}

const opened = performance.now();
decode().then((board) => {
  window.slonikBoard = new App(board);
  document.documentElement.dataset.openMs = (performance.now() - opened).toFixed(1);
}, (error) => {
  document.getElementById("app").replaceChildren(h("p", { class: "loading", role: "alert" }, `The board could not be opened in this browser: ${error.message}. It needs DecompressionStream (Chrome 80, Firefox 113, Safari 16.4 or later).`));
});
