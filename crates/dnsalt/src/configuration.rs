//! The policy from the command line and the file, with the place of every mistake.

use std::path::{Path, PathBuf};

use dnsalt_policy::{Defaults, Policy, PolicyError, Settings};

use crate::cli::PolicyArgs;
use crate::exit::Failure;

/// Read when `--config` is not given and it is there.
const DEFAULT_FILE: &str = "/etc/dnsalt.toml";

/// A policy, and the settings that make it.
#[derive(Clone, Debug)]
pub(crate) struct Configured {
    pub(crate) policy: Policy,
    /// Complete: they make the same policy later.
    pub(crate) settings: Settings,
}

impl Configured {
    /// What `settings` make.
    pub(crate) fn new(settings: Settings) -> Result<Self, PolicyError> {
        Ok(Configured { policy: settings.clone().resolve()?, settings })
    }
}

/// The policy that the command line, the file and the defaults make, in this order of weight.
pub(crate) fn load(args: &PolicyArgs, defaults: &Defaults) -> Result<Configured, Failure> {
    let given = args.settings();
    let file = match &args.config {
        Some(path) => Some(File::read(path)?),
        None if Path::new(DEFAULT_FILE).exists() => Some(File::read(Path::new(DEFAULT_FILE))?),
        None => None,
    };
    let below = file.as_ref().map(|file| file.settings.clone()).unwrap_or_default();
    let settings = given.clone().or(below).complete(defaults);
    Configured::new(settings).map_err(|error| {
        let place = place(&error, &given, file.as_ref());
        Failure::Usage(format!("{place}{error}"))
    })
}

/// Where a contradiction between settings stands: the option if it was given, else the line.
fn place(error: &PolicyError, given: &Settings, file: Option<&File>) -> String {
    let on_command_line = |key: &&&str| {
        let given = toml::Table::try_from(given).unwrap_or_default();
        given.contains_key(**key)
    };
    if let Some(key) = error.keys().iter().find(on_command_line) {
        return format!("--{key}: ");
    }
    let place = |file: &File| {
        let (key, at) = error.keys().iter().find_map(|key| Some((key, file.offset_of(key)?)))?;
        Some(format!("{}:{}: {key}: ", file.path.display(), line_and_column(&file.text, at)))
    };
    file.and_then(place).unwrap_or_default()
}

/// A configuration file as it was read.
struct File {
    path: PathBuf,
    text: String,
    settings: Settings,
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        let settings = toml::from_str(&text).map_err(|error| mistake(path, &text, &error))?;
        Ok(File { path: path.to_owned(), text, settings })
    }

    fn offset_of(&self, key: &str) -> Option<usize> {
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let text = line.trim_start();
            if text.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')) {
                return Some(start + line.len() - text.len());
            }
            start += line.len();
        }
        None
    }
}

/// As editors count: `LINE:COLUMN`, both from 1, columns in characters.
fn line_and_column(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) = (before.matches('\n').count(), before[start..].chars().count());
    format!("{}:{}", line + 1, column + 1)
}

/// `FILE:LINE:COLUMN: what is wrong`, on one line, with the nearest key for one that does not exist.
fn mistake(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let place = line_and_column(text, error.span().map_or(0, |span| span.start));
    let mut message = error.message().trim().replace('\n', " ");
    if let Some(unknown) = message.strip_prefix("unknown field `").and_then(|m| m.split('`').next())
    {
        message = format!("unknown key `{unknown}`; {}", nearest(unknown));
    }
    Failure::Usage(format!("{}:{place}: {message}", path.display()))
}

fn nearest(unknown: &str) -> String {
    let distance = |key: &str| strsim::jaro_winkler(unknown, key);
    let best = Settings::KEYS.into_iter().max_by(|a, b| distance(a).total_cmp(&distance(b)));
    match best.filter(|key| distance(key) > 0.7) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("the keys are {}", Settings::KEYS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let error = toml::from_str::<Settings>(text).unwrap_err();
        match mistake(Path::new("/etc/dnsalt.toml"), text, &error) {
            Failure::Usage(message) => message,
            Failure::CouldNot(error) => panic!("{error}"),
        }
    }

    #[test]
    fn mistakes_in_the_file_have_line_and_mend() {
        assert_eq!(
            message("# a comment\nform = ['10.0.0.0/8']\n"),
            "/etc/dnsalt.toml:2:1: unknown key `form`; did you mean `from`?"
        );
        assert_eq!(line_and_column("ä = 1\nüx = 2", "ä = 1\nü".len()), "2:2");
        assert!(message("zzz = 1").contains("the keys are from, to,"));
        assert_eq!(
            message("\n\nfrom = ['10.0.0.1/8']"),
            "/etc/dnsalt.toml:3:8: `10.0.0.1/8` has bits set behind its length; did you mean `10.0.0.0/8`?"
        );
        assert!(
            message("ports = '9-5'")
                .starts_with("/etc/dnsalt.toml:1:9: the range of ports `9-5` is empty")
        );
        assert!(message("dns-port = [70000]").starts_with("/etc/dnsalt.toml:1:13: "));
        assert!(message("from = [").starts_with("/etc/dnsalt.toml:1:9: "));
        assert!(!message("from = [\n'a'\n").contains('\n'));
    }
}
