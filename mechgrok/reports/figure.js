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

async function show(place, id) {
  try {
    await loadPlotly();
    const figure = await unpacked(id);
    // On a touch screen a finger scrolls the page instead of dragging a zoom box.
    if (window.matchMedia("(pointer: coarse)").matches) figure.layout.dragmode = false;
    await Plotly.newPlot(place, figure.data, figure.layout, {
      responsive: true, displaylogo: false, showSendToCloud: false,
      toImageButtonOptions: { format: "svg" },
    });
    if (figure.frames) await Plotly.addFrames(place, figure.frames);
    place.dataset.shown = "yes";
  } catch (error) {
    place.textContent = "This figure cannot be shown in this browser (" + error.message + ").";
  }
}
