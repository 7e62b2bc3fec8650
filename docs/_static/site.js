// Figures follow the width of the column.
addEventListener("load", () => {
  const byTouch = matchMedia("(pointer: coarse)").matches;
  for (const figure of document.querySelectorAll(".plotly-graph-div")) {
    // A finger scrolls instead of zooming.
    if (byTouch) Plotly.relayout(figure, { dragmode: false });
    follow(figure);
    Plotly.Plots.resize(figure);
  }
});
