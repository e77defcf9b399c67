//! Pages that need nothing else: no script, no font, no picture from elsewhere.

pub(crate) const STYLE: &str = include_str!("page.css");

/// What ends a page.
pub(crate) const END: &str = "</main>\n</body>\n</html>\n";

/// A page up to where its text begins.
pub(crate) fn begin(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )
}

/// A text that may hold anything, as a page shows it.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
