//! Whether two objects are the same program: what the kernel gets to see of them is the same.

use std::collections::BTreeMap;

use anyhow::Context as _;
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionFlags, SymbolKind,
    elf,
};

/// Bytes of an instruction.
const INSTRUCTION: usize = 8;

/// What the kernel gets to see of one section.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section {
    code: bool,
    bytes: Vec<u8>,
    /// By the offset: the kind, and what it is about.
    relocations: BTreeMap<u64, String>,
    /// Functions, maps and other data by their offset.
    symbols: BTreeMap<u64, String>,
}

/// Where two objects first differ; debug information and the names of local functions aside.
pub(super) fn difference(committed: &[u8], built: &[u8]) -> anyhow::Result<Option<String>> {
    let committed = sections(committed).context("the committed object")?;
    let built = sections(built).context("the object that was built")?;
    for name in committed.keys().chain(built.keys()) {
        let found = match (committed.get(name), built.get(name)) {
            (Some(one), Some(other)) => one.difference(other),
            (Some(_), None) => Some("only the committed one has it".to_owned()),
            (None, _) => Some("only the one that was built has it".to_owned()),
        };
        if let Some(found) = found {
            return Ok(Some(format!("section {name}: {found}")));
        }
    }
    Ok(None)
}

impl Section {
    fn difference(&self, other: &Section) -> Option<String> {
        if self == other {
            return None;
        }
        let chunks = |section: &Section| section.bytes.len().div_ceil(INSTRUCTION);
        for index in 0..chunks(self).max(chunks(other)) {
            let (here, there) = (self.at(index), other.at(index));
            if here != there {
                let what = if self.code { "instruction" } else { "word" };
                let within = self.within(index);
                return Some(format!("{what} {index}{within}: committed {here}, built {there}"));
            }
        }
        Some(format!("symbols: committed {:?}, built {:?}", self.symbols, other.symbols))
    }

    /// An instruction with its relocation, to be shown.
    fn at(&self, index: usize) -> String {
        let Some(bytes) = self.bytes.chunks(INSTRUCTION).nth(index) else {
            return "none".to_owned();
        };
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let start = (index * INSTRUCTION) as u64;
        for (_, relocation) in self.relocations.range(start..start + INSTRUCTION as u64) {
            text += &format!(" ({relocation})");
        }
        text
    }

    /// The function that an instruction is in, to be shown.
    fn within(&self, index: usize) -> String {
        let at = (index * INSTRUCTION) as u64;
        let last = self.symbols.range(..=at).next_back();
        last.map_or(String::new(), |(_, name)| format!(" in {name}"))
    }
}

fn sections(bytes: &[u8]) -> anyhow::Result<BTreeMap<String, Section>> {
    let file = object::File::parse(bytes).context("is no ELF file")?;
    let mut sections = BTreeMap::new();
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        // Debug information and tables are not loaded.
        if sh_flags & u64::from(elf::SHF_ALLOC) == 0 {
            continue;
        }
        let code = sh_flags & u64::from(elf::SHF_EXECINSTR) != 0;
        let mut relocations = BTreeMap::new();
        for (offset, relocation) in section.relocations() {
            let target = match relocation.target() {
                RelocationTarget::Symbol(index) => target(&file, index)?,
                other => format!("{other:?}"),
            };
            relocations.insert(offset, format!("{:?} {target}", relocation.flags()));
        }
        let symbols = file.symbols().filter(|symbol| {
            symbol.section_index() == Some(section.index()) && symbol.kind() != SymbolKind::Section
        });
        let symbols = symbols.map(|symbol| Ok((symbol.address(), name(&symbol)?)));
        let symbols = symbols.collect::<anyhow::Result<_>>()?;
        let content = Section { code, bytes: section.data()?.to_vec(), relocations, symbols };
        sections.insert(section.name()?.to_owned(), content);
    }
    Ok(sections)
}

/// What a relocation is about. A local function is named by its place: its name has a hash in it, which
/// is another where the sources are in another folder.
fn target(file: &object::File<'_>, index: object::SymbolIndex) -> anyhow::Result<String> {
    let symbol = file.symbol_by_index(index)?;
    if symbol.is_global() {
        return Ok(symbol.name()?.to_owned());
    }
    let section = match symbol.section_index() {
        Some(index) => file.section_by_index(index)?.name()?.to_owned(),
        None => String::new(),
    };
    Ok(format!("{section}+{:#x}", symbol.address()))
}

fn name<'a>(symbol: &impl object::ObjectSymbol<'a>) -> anyhow::Result<String> {
    Ok(if symbol.is_global() { symbol.name()?.to_owned() } else { "a local function".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Vec<u8> {
        std::fs::read(crate::bpf::path("salt.o")).unwrap()
    }

    /// Where a section stands in the file.
    fn place(object: &[u8], name: &str) -> usize {
        let file = object::File::parse(object).unwrap();
        let section = file.section_by_name(name).unwrap();
        usize::try_from(section.file_range().unwrap().0).unwrap()
    }

    #[test]
    fn an_object_is_the_same_as_itself() {
        assert_eq!(difference(&committed(), &committed()).unwrap(), None);
    }

    #[test]
    fn a_changed_instruction_is_named() {
        let mut changed = committed();
        let at = place(&changed, "classifier") + 2 * INSTRUCTION;
        changed[at] ^= 0xff;
        let found = difference(&committed(), &changed).unwrap().unwrap();
        assert!(found.starts_with("section classifier: instruction 2 in salt_"), "{found}");
    }

    #[test]
    fn a_changed_map_is_named() {
        let mut changed = committed();
        let at = place(&changed, "maps") + INSTRUCTION;
        changed[at] ^= 1;
        let found = difference(&committed(), &changed).unwrap().unwrap();
        assert!(found.starts_with("section maps: word 1 in "), "{found}");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(difference(b"no ELF", &committed()).is_err());
        assert!(difference(&committed(), &committed()[..100]).is_err());
    }
}
