// The board's data: one block of gzip in the page, decoded without a request; the numbers of all cells stay in arrays.

const ARRAYS = { "<f8": Float64Array, "<f4": Float32Array, "<u4": Uint32Array, "<i4": Int32Array, "<u2": Uint16Array, "<u1": Uint8Array };

async function decode() {
  const text = document.getElementById("board-data").textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const board = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let place = 4 + length + ((8 - ((4 + length) % 8)) % 8);
  for (const [name, kind] of board.arrays) {
    board[name] = new ARRAYS[kind](buffer, place, board.cells);
    const size = ARRAYS[kind].BYTES_PER_ELEMENT * board.cells;
    place += size + ((8 - (size % 8)) % 8);
  }
  board.byName = new Map(board.models.map((model, number) => [model.n, number]));
  board.byId = new Map(board.tables.map((table) => [table.id, table]));
  return board;
}

// Row and column to the number of a cell, -1 where there is none; made when a table is first looked at.
function indexed(board, table) {
  if (table.index) return table;
  const width = table.columns.length;
  table.index = new Int32Array(table.rows.length * width).fill(-1);
  table.range = table.columns.map(() => [Infinity, -Infinity]);
  for (let cell = table.start; cell < table.start + table.count; cell++) {
    table.index[board.row[cell] * width + board.column[cell]] = cell;
    const range = table.range[board.column[cell]], value = board.value[cell];
    const low = board.low[cell] < value ? board.low[cell] : value, high = board.high[cell] > value ? board.high[cell] : value;
    if (low < range[0]) range[0] = low;
    if (high > range[1]) range[1] = high;
  }
  table.names = table.rows.map(([model, qualifier]) => board.models[model].n + (qualifier ? ` (${qualifier})` : ""));
  return table;
}

const cellAt = (table, row, column) => table.index[row * table.columns.length + column];

// How values are written; the interval in the same unit.
const digits = (value, count = 3) => {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const places = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(value))));
  return Number(value.toPrecision(count)).toLocaleString("en", { minimumFractionDigits: Math.min(places, 8), maximumFractionDigits: Math.min(places, 8) });
};
const scaled = (value, units) => {
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return (unit ? digits(value) : String(Math.round(value * 100) / 100)) + (units[unit] ? "\u2009" + units[unit] : "");
};
const WRITE = {
  score: (value, short) => value.toFixed(short ? 3 : 4),
  ms: (value) => digits(value), s: (value) => digits(value), rate: (value) => digits(value, 4), gib: (value) => digits(value),
  bytes: (value) => scaled(value, ["B", "kB", "MB", "GB", "TB"]), count: (value) => scaled(value, ["", "k", "M", "G", "T"]),
  ratio: (value) => digits(value) + "×", number: (value) => digits(value, 4), points: (value) => value.toFixed(0),
  share: (value) => (100 * value).toFixed(0) + "\u2009%",
};
const UNITS = { ms: "ms", s: "s", gib: "GiB", rate: "/s" };
const minus = (text) => text.replace(/-/g, "−");
const write = (kind, value, short) => minus((WRITE[kind] || WRITE.number)(value, short));

function interval(board, cell, kind) {
  const low = board.low[cell], high = board.high[cell];
  return Number.isNaN(low) || Number.isNaN(high) ? "" : `${write(kind, low, true)} – ${write(kind, high, true)}`;
}

function ranks(board, cell) {
  const low = board.rankLow[cell], high = board.rankHigh[cell];
  return !low ? "" : low === high ? String(low) : `${low}–${high}`;
}

// Elements are made with text alone: no string of the data is ever read as HTML.
function h(tag, attributes = {}, ...children) {
  const element = tag === "svg" || SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const SVG = new Set(["path", "circle", "line", "text", "g", "polyline", "rect", "title"]);

function download(name, kind, text) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// Names that other people chose may begin as a formula does: a sheet must not run them.
function csvCell(value) {
  let text = value === null || value === undefined || Number.isNaN(value) ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
  return /[",;\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}
