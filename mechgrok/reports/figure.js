"use strict";
async function unzipped(id) {
  const packed = document.getElementById(id);
  const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
  packed.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

let plotly;
function loadPlotly() {
  plotly ??= unzipped("plotly").then((code) => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(code);
    document.head.append(script);
  });
  return plotly;
}

async function unpacked(id) {
  const content = await unzipped(id);
  const end = 4 + new DataView(content).getUint32(0, true);
  return JSON.parse(new TextDecoder().decode(content.slice(4, end)), (_, part) => {
    if (!part || part.at === undefined || part.bytes === undefined) return part;
    const bdata = content.slice(end + part.at, end + part.at + part.bytes);
    return { dtype: part.dtype, shape: part.shape, bdata };
  });
}

// A figure has layouts for several widths of its place: that of the widest that fits is chosen.
function widest(layouts, pixels) {
  const widths = Object.keys(layouts).map(Number).sort((a, b) => a - b);
  return widths.findLast((width) => width <= pixels) ?? widths[0];
}

function fittingWidth(place, layout) {
  return widest(layout.meta?.layouts ?? {}, place.clientWidth);
}

// Set attributes of a layout by their paths, such as "sliders[0].pad.t".
function assign(layout, attributes) {
  for (const [path, value] of Object.entries(attributes)) {
    const names = path.match(/[^.[\]]+/g);
    const last = names.pop();
    names.reduce((part, name) => (part[name] ??= {}), layout)[last] = value;
  }
}

// Change a figure's layout when its place becomes wider or narrower.
function follow(place, width) {
  new ResizeObserver(() => {
    const now = fittingWidth(place, place.layout);
    if (!now || now === width || !place.clientWidth || matchMedia("print").matches) return;
    width = now;
    Plotly.relayout(place, structuredClone(place.layout.meta.layouts[width]));
  }).observe(place);
}

// Lay a figure out for a width in pixels, or again for the width of its place (null).
function fit(place, width) {
  const layouts = place.layout.meta?.layouts ?? {};
  const chosen = layouts[width ? widest(layouts, width) : fittingWidth(place, place.layout)] ?? {};
  Plotly.relayout(place, { ...structuredClone(chosen), width, autosize: width === null });
}

async function draw(place, figure) {
  const width = fittingWidth(place, figure.layout);
  if (width) assign(figure.layout, figure.layout.meta.layouts[width]);
  // On a touch screen a finger scrolls the page instead of dragging a zoom box.
  if (window.matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false;
  await Plotly.newPlot(place, figure.data, figure.layout, {
    responsive: true, displaylogo: false, showSendToCloud: false,
    toImageButtonOptions: { format: "svg" },
  });
  if (figure.frames) await Plotly.addFrames(place, figure.frames);
  follow(place, width);
}

async function show(place, id) {
  try {
    await loadPlotly();
    await draw(place, await unpacked(id));
    place.dataset.shown = "yes";
  } catch (error) {
    place.textContent = "This figure cannot be shown in this browser (" + error.message + ").";
  }
}
