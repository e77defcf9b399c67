//! Colours, and what stands for them where there are none.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// How things are set apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    /// Whether there are colours; else words, signs and brightness do.
    pub(crate) colour: bool,
    /// Whether there are signs beyond ASCII.
    pub(crate) unicode: bool,
}

impl Theme {
    /// What this terminal can, as far as the environment says.
    pub(crate) fn of_terminal() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase().replace('-', "");
        // The console of Linux has UTF-8, but no font with Braille.
        let console = set("TERM").is_some_and(|term| term == "linux");
        Theme { colour: set("NO_COLOR").is_none(), unicode: locale.contains("utf8") && !console }
    }

    fn coloured(self, colour: Color, modifier: Modifier) -> Style {
        let style = Style::new().add_modifier(modifier);
        if self.colour { style.fg(colour) } else { style }
    }

    /// Names of things, and what frames them.
    pub(crate) fn quiet() -> Style {
        // Dim is grey on some terminals and nothing on others; it never hides.
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings.
    pub(crate) fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// As it should be.
    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green, Modifier::BOLD)
    }

    /// To be looked at.
    pub(crate) fn warning(self) -> Style {
        self.coloured(Color::Yellow, Modifier::BOLD)
    }

    /// Weak, or attacked.
    pub(crate) fn bad(self) -> Style {
        self.coloured(Color::Red, Modifier::BOLD)
    }

    /// Bars and points.
    pub(crate) fn graph(self) -> Style {
        self.coloured(Color::Cyan, Modifier::empty())
    }

    /// Bars of what is forged.
    pub(crate) fn alarm(self) -> Style {
        self.coloured(Color::Red, Modifier::empty())
    }

    /// Writes what is drawn with ASCII alone, if the terminal has nothing else.
    pub(crate) fn finish(self, buffer: &mut Buffer) {
        if self.unicode {
            return;
        }
        for cell in &mut buffer.content {
            let sign = cell.symbol().chars().next().unwrap_or(' ');
            if !sign.is_ascii() {
                cell.set_char(ascii(sign));
            }
        }
    }
}

/// What comes nearest to a sign.
fn ascii(sign: char) -> char {
    match sign {
        '●' => '*',
        '○' => 'o',
        '▲' => '!',
        '─' => '-',
        '│' | '┤' => '|',
        '┌' | '┐' | '└' | '┘' => '+',
        '…' => '~',
        // Bars, from one eighth to all.
        '▁'..='█' => {
            ['.', '.', ':', ':', '+', '+', '#', '#'][(sign as usize - '▁' as usize) % 8]
        }
        // Braille: the bits of the number are its dots.
        '\u{2800}' => ' ',
        '\u{2801}'..='\u{28ff}' => match (sign as u32 & 0xff).count_ones() {
            1 => '.',
            2 => ':',
            3..=5 => '*',
            _ => '#',
        },
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_have_something_near_them() {
        let all: String = "●○▲─│┌…▁▄█⠀⠁⠃⠿⣿é".chars().map(ascii).collect();
        assert_eq!(all, "*o!-|+~.:# .:##?");
    }
}
