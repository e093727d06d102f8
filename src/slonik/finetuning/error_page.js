"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const get = (id) => document.getElementById(id);
  const STEP = 100;
  let shown = STEP;
  const option = (select, value, text) => {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    select.append(made);
  };
  data.models.forEach((name, place) => option(get("model"), String(place), name));
  option(get("label"), "", "any");
  data.labels.slice(0, 500).forEach((name) => option(get("label"), name, name));
  for (const name of ["row", "text", "right", ...data.models]) {
    const head = document.createElement("th");
    head.scope = "col";
    head.textContent = name;
    get("heads").append(head);
  }
  const cell = (row, text, kind) => {
    const made = document.createElement("td");
    made.textContent = text;
    if (kind) made.className = kind;
    row.append(made);
  };
  const draw = () => {
    const model = Number(get("model").value);
    const wanted = get("show").value;
    const label = get("label").value;
    const search = get("search").value.trim().toLowerCase();
    const order = get("order").value;
    const chosen = data.rows.filter((row) => {
      const own = row.answers[model];
      if (wanted === "wrong" && own.right) return false;
      if (wanted === "right" && !own.right) return false;
      if (wanted === "apart" && new Set(row.answers.map((one) => one.label.join("; "))).size < 2) return false;
      if (label && !row.right.includes(label)) return false;
      return !search || row.texts.some((text) => text.toLowerCase().includes(search));
    });
    if (order !== "row") {
      const sign = order === "sure" ? -1 : 1;
      chosen.sort((one, other) => sign * (one.answers[model].sure - other.answers[model].sure) || one.row - other.row);
    }
    const body = get("rows");
    body.replaceChildren();
    for (const row of chosen.slice(0, shown)) {
      const line = document.createElement("tr");
      cell(line, String(row.row));
      cell(line, row.texts.join(" | "), "words");
      cell(line, row.right.join("; "));
      row.answers.forEach((one) => {
        cell(line, `${one.label.join("; ")} (${one.sure.toFixed(2)})`, one.right ? "right" : "wrong");
      });
      body.append(line);
    }
    get("count").textContent = `${chosen.length} of ${data.rows.length} rows`;
    get("more").hidden = chosen.length <= shown;
  };
  const anew = () => {
    shown = STEP;
    draw();
  };
  for (const id of ["model", "show", "label", "order"]) get(id).addEventListener("change", anew);
  get("search").addEventListener("input", anew);
  get("more").addEventListener("click", () => {
    shown += STEP;
    draw();
  });
  draw();
})();
