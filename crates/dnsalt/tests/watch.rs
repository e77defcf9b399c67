//! `watch` in a terminal: tmux on the gateway of the lab, keys pressed, screens read.

mod common;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use common::forger::Forger;
use common::{BIN, Network, dnsalt, eventually, mount_bpffs, network, ports_seen, salt};
use dnsalt_lab::{Host, Running};

const PATIENCE: Duration = Duration::from_secs(15);
const PROGRAMS: [&str; 5] = ["tmux", "stty", "setpriv", "pgrep", "tc"];

/// A terminal of 80 columns and 24 lines on a host, with a shell in it. Its server, which is no
/// daemon and has a socket below the host's own /run, ends with it.
struct Terminal<'a> {
    host: &'a Host,
    _server: Running,
}

impl<'a> Terminal<'a> {
    fn open(host: &'a Host) -> Self {
        let server = tmux(host, &["-D"]).env("LC_ALL", "C.UTF-8").stderr(Stdio::null());
        let terminal = Terminal { host, _server: server.spawn().unwrap() };
        // Not a server of its own, should this be first.
        let new = ["-N", "new-session", "-d", "-x", "80", "-y", "24", "sh"];
        eventually("tmux is there", PATIENCE, || {
            let made = tmux(host, &new).output().unwrap();
            made.status.success()
        });
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = tmux(self.host, args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a line.
    fn say(&self, line: &str) {
        self.press(&["-l", line]);
        self.press(&["Enter"]);
    }

    /// What stands there, a line for each of the terminal.
    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The screen once it has all of these.
    #[track_caller]
    fn shows(&self, texts: &[&str]) -> String {
        let mut screen = String::new();
        for _ in 0..150 {
            screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{texts:?} are not all there:\n{screen}");
    }

    /// How the terminal is set, in all its ways but its size: that is ours, and tmux takes its time.
    fn settings(&self, name: &str) -> String {
        let size = "s/rows [0-9]*; columns [0-9]*;//";
        self.say(&format!(
            "stty -a | sed '{size}' > /run/{name}.new; mv /run/{name}.new /run/{name}"
        ));
        let mut settings = String::new();
        eventually("stty ends", PATIENCE, || {
            settings = self.host.sh(&format!("cat /run/{name} 2>/dev/null || :")).unwrap();
            !settings.is_empty()
        });
        settings
    }
}

fn tmux<'a>(host: &'a Host, args: &[&str]) -> dnsalt_lab::HostCommand<'a> {
    let command = host.command("tmux").args(["-L", "dnsalt-test", "-f", "/dev/null"]);
    command.args(args).env("TMUX_TMPDIR", "/run").env("TMUX", "").env("TERM", "screen")
}

fn with_salt() -> Option<Network> {
    let network = network(&PROGRAMS)?;
    mount_bpffs(&network.net.gateway);
    salt(&network, &[]).exits(0);
    Some(network)
}

/// The number behind a word at the beginning of a line.
fn number(screen: &str, word: &str) -> u64 {
    let line = screen.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_default();
    let number = line.trim_start()[word.len().min(line.trim_start().len())..].trim_start();
    let digits: String = number.chars().take_while(|c| *c != ' ').filter(|c| *c != ',').collect();
    digits.parse().unwrap_or(0)
}

#[test]
fn numbers_move_keys_work_and_the_terminal_is_given_back() {
    let Some(network) = with_salt() else { return };
    let gateway = &network.net.gateway;
    let terminal = Terminal::open(gateway);
    let settings = terminal.settings("before");
    terminal.say("clear; echo what was there before");
    terminal.shows(&["what was there before\n"]);
    terminal.say(&format!("{BIN} watch; echo ended with $?"));
    terminal.shows(&["dnsalt  ● Protected", "salt, by tcx", "bits       32.0 now", "lan0, wan0"]);

    // Queries are seen leaving, with what they leave with.
    let ask = || ports_seen(&network, &network.net.resolver, 44444, 100).len();
    eventually("queries are counted", PATIENCE, || {
        ask();
        number(&terminal.screen(), "queries") > 0
    });
    let screen = terminal.shows(&["Source ports", "different"]);
    println!("{screen}");
    assert!(screen.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count() > 100);

    // Who asks, and who is asked: the client behind the gateway, and more with time.
    terminal.press(&["2"]);
    let before = number(&terminal.shows(&[" Client", "10.53.1.2 ", "10.53.2.54"]), "10.53.1.2");
    assert!(before >= 200, "{before}");
    ask();
    eventually("more are counted", PATIENCE, || number(&terminal.screen(), "10.53.1.2") > before);
    println!("{}", terminal.screen());

    forgeries(&network, &terminal);

    // A picture that stands still.
    terminal.press(&["Space"]);
    terminal.shows(&["paused", "go on"]);
    terminal.press(&["Space"]);
    terminal.shows(&["pause"]);
    terminal.press(&["?"]);
    terminal.shows(&["Keys and numbers"]);
    terminal.press(&["?"]);

    sizes(&terminal);

    terminal.press(&["q"]);
    let after = terminal.shows(&["ended with 0"]);
    assert!(after.starts_with("what was there before\n"), "{after}");
    assert!(!after.contains("Protected"), "{after}");
    assert_eq!(terminal.settings("after"), settings);
}

/// Replies in a server's name: to ports that none waits at, and that the engine drops.
fn forgeries(network: &Network, terminal: &Terminal<'_>) {
    let forger = Forger::new(&network.net);
    let server = SocketAddr::new(network.net.servers_v4[0], 53);
    let reply = b"\0\x07\x81\x80\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    terminal.press(&["3"]);
    eventually("forged replies are counted", PATIENCE, || {
        for port in 2000..2200 {
            forger.send(server, SocketAddr::from(([10, 53, 1, 2], port)), reply);
        }
        let screen = terminal.screen();
        number(&screen, "forged") > 0 && number(&screen, "dropped") > 0
    });
    let screen = terminal.shows(&[" Server", "No query", "10.53.2.53"]);
    println!("{screen}");
    assert!(!screen.contains("none since"), "{screen}");
}

/// Smaller than all fits, and so large that all fits at once.
fn sizes(terminal: &Terminal<'_>) {
    terminal.tmux(&["resize-window", "-x", "60", "-y", "12"]);
    terminal.shows(&["60x12 is small", "● Protected", "q quit"]);
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    eventually("it is drawn larger", PATIENCE, || {
        terminal.screen().lines().any(|line| line.chars().count() > 100)
    });
    // The pane that had all of the smaller screen gives its room to all of them.
    terminal.press(&["3"]);
    let screen = terminal.shows(&["1 Ports and IDs", "Source ports", " Client", "No query"]);
    println!("{screen}");
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.shows(&["Source ports"]);
}

#[test]
fn signals_give_the_terminal_back() {
    let Some(network) = with_salt() else { return };
    let gateway = &network.net.gateway;
    let terminal = Terminal::open(gateway);
    let settings = terminal.settings("before");
    for signal in ["TERM", "HUP", "INT"] {
        terminal.say(&format!("clear; {BIN} watch; echo ended with $? by {signal}"));
        terminal.shows(&["● Protected"]);
        let shell = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        gateway.sh(&format!("kill -{signal} $(pgrep -P {shell})")).unwrap();
        let screen = terminal.shows(&[&format!("ended with 0 by {signal}")]);
        assert!(!screen.contains("Protected"), "{screen}");
        assert_eq!(terminal.settings(signal), settings);
    }
}

#[test]
fn a_terminal_that_goes_away_ends_it() {
    let Some(network) = with_salt() else { return };
    let gateway = &network.net.gateway;
    let terminal = Terminal::open(gateway);
    terminal.say(&format!("exec {BIN} watch"));
    terminal.shows(&["● Protected"]);
    let pid = terminal.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let pid = pid.trim();
    terminal.tmux(&["kill-session"]);
    eventually("it is gone", PATIENCE, || gateway.sh(&format!("kill -0 {pid}")).is_err());
}

#[test]
fn where_it_cannot_be_shown_it_says_so() {
    let Some(network) = network(&PROGRAMS) else { return };
    let gateway = &network.net.gateway;
    let piped = dnsalt(gateway, &["watch"]).exits(2);
    assert_eq!(piped.stderr.lines().count(), 1, "{piped:?}");
    assert!(piped.stderr.contains("dnsalt status") && piped.stdout.is_empty(), "{piped:?}");
    let terminal = Terminal::open(gateway);
    let bounded = "setpriv --bounding-set=-net_admin,-net_raw";
    for (n, (line, code, says)) in (1..).zip([
        (format!("TERM=dumb {BIN} watch"), 2, "`dnsalt status`"),
        (format!("{bounded} {BIN} watch"), 3, "sudo"),
        (format!("{BIN} watch --iface none0"), 2, "no interface `none0`"),
        (format!("{BIN} watch --interval 1ms"), 2, "less than 100ms"),
    ]) {
        terminal.say(&format!("clear; {line}; echo case {n} ended with $?"));
        let screen = terminal.shows(&[&format!("case {n} ended with {code}")]);
        let unwrapped = screen.replace('\n', "");
        assert!(unwrapped.contains("dnsalt: ") && unwrapped.contains(says), "{screen}");
    }
    // Nothing is installed: that is shown, too.
    terminal.say(&format!("NO_COLOR=1 {BIN} watch --iface wan0"));
    terminal.shows(&["○ Not protected", "dnsalt up", "watched    wan0"]);
    terminal.press(&["C-c"]);
}
