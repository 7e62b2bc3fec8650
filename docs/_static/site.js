// Figures on a small screen.
addEventListener("load", () => {
  const byTouch = matchMedia("(pointer: coarse)").matches;
  for (const figure of document.querySelectorAll(".plotly-graph-div")) {
    const axes = Object.entries(figure.layout).filter(([name]) => name.startsWith("xaxis"));
    const columns = new Set(axes.map(([, axis]) => axis.domain?.[0] ?? 0)).size;
    // Panels beside one another stay apart: the figure scrolls, the page does not.
    if (columns > 1) figure.style.minWidth = "40rem";
    // A finger scrolls instead of zooming.
    if (byTouch) Plotly.relayout(figure, { dragmode: false });
    Plotly.Plots.resize(figure);
  }
});
