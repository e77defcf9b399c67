//! The committed object, loaded, with maps that outlive the process.
#![allow(unsafe_code)]

use std::path::Path;

use aya::maps::{Array, LpmTrie, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::SchedClassifier;
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, Pod};
use dnsalt_salt::layout::{Config, Counter, Random, Range, Suffix};
use dnsalt_salt::siphash::Key;

use crate::pins::Pins;
use crate::{BpfError, plan};

/// As `./x bpf` wrote it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../dnsalt-ebpf/object/salt.o"
));

/// The maps that last, with the sizes of key and value. All but the scratch memory of a packet.
pub(crate) const MAPS: [(&str, usize, usize); 20] = {
    use dnsalt_salt::layout::{Cookie, Habit, Recent, Server, Slot, Told};
    [
        ("CONFIG", 4, size_of::<Config>()),
        ("PORTS", 4, 2 << 16),
        ("SLOTS", 4, size_of::<Slot>()),
        ("TAKEN", 4, 4),
        ("RECENT", 4, size_of::<Recent>()),
        ("SERVERS", 4, size_of::<Server>()),
        ("PASSED", 4, 4),
        ("RANDOM", 4, size_of::<Random>()),
        ("COUNTERS", 4, 8),
        ("TOLD", 4, size_of::<Told>()),
        ("EVENTS", 0, 0),
        ("FROM", 20, 1),
        ("TO", 20, 1),
        ("NO_TCP", 20, 1),
        ("NO_CASE", 20, 1),
        ("HABITS", 4, size_of::<Habit>()),
        ("SUFFIXES", 4, size_of::<Suffix>()),
        ("ADDRESSES", 4, size_of::<Range>()),
        ("POOL", 20, 1),
        ("COOKIES", 4, size_of::<Cookie>()),
    ]
};

/// The programs for one kind of links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// For what leaves.
    pub(crate) out: &'static str,
    /// For what comes in.
    pub(crate) back: &'static str,
}

/// For links with Ethernet headers, which nearly all have, and for those without.
pub(crate) const ETHER: Pair = Pair { out: "salt_out_ether", back: "salt_in_ether" };
pub(crate) const RAW: Pair = Pair { out: "salt_out_raw", back: "salt_in_raw" };

/// A value of a map as plain memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: used for the structures of the layout, all of whose bytes are numbers without gaps, and for
// arrays of numbers.
unsafe impl Pod for Plain<Config> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Random> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Suffix> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Range> {}
// SAFETY: as above.
unsafe impl Pod for Plain<[u16; 65536]> {}

/// No ports.
static PORTS: [u16; 65536] = [0; 65536];

/// The kernel half.
#[derive(Debug)]
pub(crate) struct Object {
    ebpf: Ebpf,
}

impl Object {
    /// Loads programs, with the maps that are pinned in a folder; makes those that are not.
    pub(crate) fn load(pins: &Path, pairs: &[Pair]) -> Result<Self, BpfError> {
        Self::load_with(Some(pins), pairs)
    }

    /// Loads programs with maps that go with the object.
    pub(crate) fn alone(pairs: &[Pair]) -> Result<Self, BpfError> {
        Self::load_with(None, pairs)
    }

    /// Those that nobody needs are not loaded: the kernel takes half a second and more to verify a pair.
    fn load_with(pins: Option<&Path>, pairs: &[Pair]) -> Result<Self, BpfError> {
        let mut loader = EbpfLoader::new();
        // Nothing in the object depends on how this kernel was built.
        loader.btf(None);
        for (name, _, _) in MAPS {
            if let Some(pins) = pins {
                loader.map_pin_path(name, pins.join(name));
            }
        }
        let ebpf =
            loader.load(OBJECT).map_err(|cause| BpfError::Maps { cause: Box::new(cause) })?;
        let mut object = Object { ebpf };
        for program in pairs.iter().flat_map(|pair| [pair.out, pair.back]) {
            object
                .program(program)?
                .load()
                .map_err(|cause| BpfError::Load { program, cause: Box::new(cause) })?;
        }
        Ok(object)
    }

    pub(crate) fn program(&mut self, name: &'static str) -> Result<&mut SchedClassifier, BpfError> {
        let program = self.ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
        program.try_into().map_err(|_| BpfError::Missing(name))
    }

    fn map<'a, M>(&'a mut self, map: &'static str) -> Result<M, BpfError>
    where
        M: TryFrom<&'a mut aya::maps::Map, Error = MapError>,
    {
        let found = self.ebpf.map_mut(map).ok_or(BpfError::Missing(map))?;
        M::try_from(found).map_err(failed(map))
    }

    pub(crate) fn config(&mut self) -> Result<Config, BpfError> {
        let map: Array<&mut MapData, Plain<Config>> = self.map("CONFIG")?;
        map.get(&0, 0).map(|plain| plain.0).map_err(failed("CONFIG"))
    }

    pub(crate) fn set_config(&mut self, config: Config) -> Result<(), BpfError> {
        let mut map: Array<&mut MapData, Plain<Config>> = self.map("CONFIG")?;
        map.set(0, Plain(config), 0).map_err(failed("CONFIG"))
    }

    /// The list again and again, to the end of the map: until the configuration tells how long it is, the
    /// programs take it for as long as the one before, and no query may leave from port 0.
    pub(crate) fn set_ports(&mut self, list: &[u16]) -> Result<(), BpfError> {
        // Too large for the stack.
        let mut ports = Box::new(Plain(PORTS));
        for (place, port) in ports.0.iter_mut().zip(list.iter().cycle()) {
            *place = *port;
        }
        let mut map: Array<&mut MapData, Plain<[u16; 65536]>> = self.map("PORTS")?;
        map.set(0, ports, 0).map_err(failed("PORTS"))
    }

    /// Writes entries of an array.
    pub(crate) fn set_entries<V: Pod>(
        &mut self,
        name: &'static str,
        entries: impl Iterator<Item = (u32, V)>,
    ) -> Result<(), BpfError> {
        let mut map: Array<&mut MapData, V> = self.map(name)?;
        for (index, entry) in entries {
            map.set(index, entry, 0).map_err(failed(name))?;
        }
        Ok(())
    }

    /// What all CPUs counted.
    pub(crate) fn count(&mut self, counter: Counter) -> Result<u64, BpfError> {
        let map: PerCpuArray<&mut MapData, u64> = self.map("COUNTERS")?;
        let counts = map.get(&(counter as u32), 0).map_err(failed("COUNTERS"))?;
        Ok(counts.iter().sum())
    }

    /// Gives each CPU a new key. What was drawn does not come again.
    pub(crate) fn set_random(&mut self) -> Result<(), BpfError> {
        renew(self.map("RANDOM")?, key)
    }

    /// Gives each CPU the same key, which is known.
    pub(crate) fn set_random_to(&mut self, known: Key) -> Result<(), BpfError> {
        renew(self.map("RANDOM")?, || Ok(known))
    }

    /// Makes a map have these prefixes, as lengths and addresses, beside those that it has.
    pub(crate) fn add_prefixes(
        &mut self,
        name: &'static str,
        prefixes: &[(u32, [u8; 16])],
    ) -> Result<(), BpfError> {
        use aya::maps::lpm_trie::Key;
        let mut map: LpmTrie<&mut MapData, [u8; 16], u8> = self.map(name)?;
        for (length, address) in prefixes {
            map.insert(&Key::new(*length, *address), 1, 0).map_err(failed(name))?;
        }
        Ok(())
    }

    /// Takes all others out of it.
    pub(crate) fn keep_prefixes(
        &mut self,
        name: &'static str,
        prefixes: &[(u32, [u8; 16])],
    ) -> Result<(), BpfError> {
        let mut map: LpmTrie<&mut MapData, [u8; 16], u8> = self.map(name)?;
        let there: Vec<_> = map.keys().collect::<Result<_, _>>().map_err(failed(name))?;
        for key in there {
            if !prefixes.contains(&(key.prefix_len(), key.data())) {
                map.remove(&key).map_err(failed(name))?;
            }
        }
        Ok(())
    }
}

/// Gives each CPU of the programs that are installed a new key.
pub(crate) fn renew_pinned(pins: &Pins) -> Result<(), BpfError> {
    let data = MapData::from_pin(pins.path("RANDOM")).map_err(failed("RANDOM"))?;
    let map = Map::from_map_data(data).map_err(failed("RANDOM"))?;
    renew(PerCpuArray::try_from(map).map_err(failed("RANDOM"))?, key)
}

fn renew<T: std::borrow::BorrowMut<MapData>>(
    mut map: PerCpuArray<T, Plain<Random>>,
    key: impl Fn() -> Result<Key, BpfError>,
) -> Result<(), BpfError> {
    let cpus = nr_cpus().map_err(|(_, cause)| BpfError::Random(cause))?;
    let mut keys = Vec::with_capacity(cpus);
    for _ in 0..cpus {
        keys.push(Plain(Random { key: key()?, counter: 0 }));
    }
    let values = PerCpuValues::try_from(keys).map_err(BpfError::Random)?;
    map.set(0, values, 0).map_err(failed("RANDOM"))
}

/// Makes the programs that are installed let in every reply, for now.
pub(crate) fn let_in(pins: &Pins) -> Result<(), BpfError> {
    let data = MapData::from_pin(pins.path("CONFIG")).map_err(failed("CONFIG"))?;
    let map = Map::from_map_data(data).map_err(failed("CONFIG"))?;
    let mut map = Array::<_, Plain<Config>>::try_from(map).map_err(failed("CONFIG"))?;
    let config = map.get(&0, 0).map_err(failed("CONFIG"))?.0;
    let config = Config { grace_until: plan::ENDLESS, ..config };
    map.set(0, Plain(config), 0).map_err(failed("CONFIG"))
}

pub(crate) fn failed(map: &'static str) -> impl Fn(MapError) -> BpfError {
    move |cause| BpfError::Map { map, cause: Box::new(cause) }
}

/// 128 bits of the kernel's best.
pub(crate) fn key() -> Result<Key, BpfError> {
    let mut bytes = [0_u8; 16];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(16) => {}
        Ok(_) => return Err(BpfError::Random(std::io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err(BpfError::Random(error.into())),
    }
    let (words, _) = bytes.as_chunks::<8>();
    Ok([u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])])
}
