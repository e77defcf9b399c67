//! The results for machines, and as a picture.

use super::Options;
use super::contest::Result;

/// JSON, with times in seconds and memory in kilobytes.
pub(crate) fn json(options: &Options, results: &[Result], memory: u64) -> String {
    let number =
        |value: Option<f64>| value.map_or("null".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<String> = results
        .iter()
        .map(|r| {
            format!(
                "    {{\"name\": \"{}\", \"median\": {}, \"least\": {:.4}, \"most\": {:.4}}}",
                r.name,
                number(r.median),
                r.least,
                r.most
            )
        })
        .collect();
    format!(
        "{{\n  \"packets\": {},\n  \"clients\": {},\n  \"rounds\": {},\n  \"memory_100000_clients_kb\": {memory},\n  \"seconds\": [\n{}\n  ]\n}}\n",
        options.packets,
        options.resolvers,
        options.rounds,
        rows.join(",\n")
    )
}

/// Bars on a logarithmic scale from a hundredth of a second on.
pub(crate) fn svg(results: &[Result]) -> String {
    const ROW: f64 = 28.0;
    const LEFT: f64 = 150.0;
    const DECADE: f64 = 110.0;
    let shown: Vec<(&Result, f64)> =
        results.iter().filter_map(|r| r.median.map(|seconds| (r, seconds))).collect();
    let height = ROW * (shown.len() as f64 + 1.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 {height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n<style>text{{fill:#222}}rect{{fill:#2f6f8f}}@media(prefers-color-scheme:dark){{text{{fill:#ddd}}rect{{fill:#7cc0df}}}}</style>\n"
    );
    for (i, (result, seconds)) in shown.iter().enumerate() {
        let y = ROW * (i as f64 + 0.5);
        let width = ((seconds / 0.01).log10() * DECADE).max(1.0);
        text += &format!(
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{:.0}\" width=\"{width:.1}\" height=\"18\"/><text x=\"{:.0}\" y=\"{:.0}\">{seconds:.2} s</text>\n",
            LEFT - 8.0,
            y + 14.0,
            result.name,
            y,
            LEFT + width + 6.0,
            y + 14.0
        );
    }
    text + "</svg>\n"
}
