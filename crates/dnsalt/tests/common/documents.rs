//! The documents of the project, as far as tests read them: links, headings, blocks of commands.

use std::path::{Path, PathBuf};

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// From the root of the project.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A block of commands, or of commands with what they print.
#[derive(Debug)]
pub(crate) struct Block {
    /// The line of the document that opens it.
    pub(crate) line: usize,
    pub(crate) commands: Vec<String>,
    /// Why it is not run: `<!-- not run: REASON -->` in the line above.
    pub(crate) not_run: Option<String>,
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All of them, in the order of their names.
pub(crate) fn documents() -> Vec<Document> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/guide", "docs/reference", "packaging"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Document { path: path.strip_prefix(&root).unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 15, "{found:?}");
    found
}

impl Document {
    /// Its lines, with their numbers and whether they are in a block; the fences of blocks are.
    fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let mut inside = false;
        self.text.lines().enumerate().map(move |(index, line)| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            (index + 1, line, inside || fence)
        })
    }

    /// Where its links lead, with the lines that they stand in.
    pub(crate) fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line, _) in self.lines().filter(|(.., in_block)| !in_block) {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split(')').next().unwrap_or_default();
                links.push((number, target.to_owned()));
            }
        }
        links
    }

    /// Its headings, as links name them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let headings =
            self.lines().filter(|(_, line, in_block)| !in_block && line.starts_with('#'));
        let anchor = |line: &str| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
            text.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(|(_, line, _)| anchor(line)).collect()
    }

    /// Its blocks of commands: `sh`, and `console`, where commands stand behind a prompt.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut language, mut above) = (None, "");
        for (line, text, _) in self.lines() {
            if let Some(fence) = text.trim_start().strip_prefix("```") {
                language = match language {
                    Some(_) => None,
                    None => Some(fence.split_whitespace().next().unwrap_or_default()),
                };
                if matches!(language, Some("sh" | "console")) {
                    let reason = above.strip_prefix("<!-- not run: ");
                    let not_run = reason.map(|why| why.trim_end_matches(" -->").to_owned());
                    blocks.push(Block { line, commands: Vec::new(), not_run });
                }
            } else if let (Some(block), Some("sh" | "console")) = (blocks.last_mut(), language) {
                block.add(text, language == Some("console"));
            }
            above = text;
        }
        blocks
    }
}

impl Block {
    fn add(&mut self, line: &str, behind_prompt: bool) {
        if let Some(begun) = self.commands.last_mut().filter(|last| last.ends_with('\\')) {
            begun.pop();
            begun.push_str(line.trim_start());
            return;
        }
        let command = match line.split_once(['$', '#']) {
            // `$ dnsalt up`, `gateway# dnsalt up`
            Some((host, command)) if host.chars().all(char::is_alphanumeric) => {
                command.strip_prefix(' ').filter(|_| behind_prompt)
            }
            _ => None,
        };
        let command = if behind_prompt { command } else { Some(line) };
        let command =
            command.map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#'));
        self.commands.extend(command.map(str::to_owned));
    }
}
