//! A host is apart from the machine, and ends without a trace.

mod common;

use std::fs;
use std::io::Read as _;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dnsalt_lab::{Host, link};

fn gone(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn a_link_carries_as_soon_as_it_is_there() {
    if !common::can_run() {
        return;
    }
    let (a, b) = (Host::new("a").unwrap(), Host::new("b").unwrap());
    for _ in 0..50 {
        link((&a, "eth0"), (&b, "eth0")).unwrap();
        // Of the other end this tells nothing: it carries before the kernel says so.
        let state = a.run(|| fs::read_to_string("/sys/class/net/eth0/operstate"));
        assert_eq!(state.unwrap(), "up\n");
        a.sh("ip link delete eth0").unwrap();
    }
}

#[test]
fn two_hosts_exchange_datagrams() {
    if !common::can_run() {
        return;
    }
    let (a, b) = (Host::new("a").unwrap(), Host::new("b").unwrap());
    link((&a, "eth0"), (&b, "eth1")).unwrap();
    for (one, other) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
        let length = if one.contains(':') { 64 } else { 24 };
        a.address("eth0", &format!("{one}/{length}")).unwrap();
        b.address("eth1", &format!("{other}/{length}")).unwrap();
        let server = b.run(move || UdpSocket::bind((other, 7)).unwrap());
        let client = a.run(move || UdpSocket::bind((one, 4444)).unwrap());
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        }
        client.send_to(b"ping", (other, 7)).unwrap();
        let mut buffer = [0; 16];
        let (length, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], peer), (&b"ping"[..], client.local_addr().unwrap()));
        server.send_to(b"pong", peer).unwrap();
        assert_eq!(client.recv(&mut buffer).unwrap(), 4);
    }
}

#[test]
fn files_are_private() {
    if !common::can_run() {
        return;
    }
    let before = fs::read("/etc/resolv.conf").ok();
    let host = Host::new("private").unwrap();
    assert_eq!(
        host.sh("cat /etc/resolv.conf; ls /sys/class/net; hostname").unwrap(),
        "lo\nprivate\n"
    );
    host.sh("echo x > /run/dnsalt-lab-test").unwrap();
    host.resolv_conf(&["10.0.0.53".parse().unwrap()]).unwrap();
    assert_eq!(host.sh("cat /etc/resolv.conf").unwrap(), "nameserver 10.0.0.53\n");
    assert!(!Path::new("/run/dnsalt-lab-test").exists());
    assert_eq!(fs::read("/etc/resolv.conf").ok(), before);
}

#[test]
fn nothing_is_left_of_a_dropped_host() {
    if !common::can_run() {
        return;
    }
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let host = Host::new("dropped").unwrap();
    let theirs = host.sh("readlink /proc/self/ns/net").unwrap();
    assert_ne!(own.to_str().unwrap(), theirs.trim());
    assert_eq!(fs::read_link(host.netns_path()).unwrap().to_str().unwrap(), theirs.trim());
    let path = host.netns_path();
    drop(host);
    // The thread is joined a moment before the kernel forgets it; its number may be given again.
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_link(&path).is_ok_and(|link| link.to_str() == Some(theirs.trim())) {
        assert!(Instant::now() < deadline, "{} is still there", path.display());
    }
    let named = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&named.stdout).contains("dropped"));
    assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), own);
}

#[test]
fn a_panic_reaches_the_caller_and_the_host_lives_on() {
    if !common::can_run() {
        return;
    }
    let host = Host::new("panics").unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| host.run(|| panic!("as wanted")))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"as wanted"));
    assert_eq!(host.run(|| 7), 7);
}

#[test]
fn a_failed_script_tells_what_it_said() {
    if !common::can_run() {
        return;
    }
    let host = Host::new("script").unwrap();
    let told = host.sh("echo no such luck >&2; exit 7").unwrap_err().to_string();
    assert!(told.contains("no such luck") && told.contains('7'), "{told}");
}

#[test]
fn children_end_with_their_guard_and_with_their_host() {
    if !common::can_run() {
        return;
    }
    let host = Host::new("children").unwrap();
    let running = host.command("sleep").arg("1000").spawn().unwrap();
    let pid = running.pid();
    drop(running);
    assert!(gone(pid));
    let orphan = host.command("sleep").arg("1000").spawn().unwrap();
    let pid = orphan.pid();
    std::mem::forget(orphan);
    drop(host);
    assert!(gone(pid));
}

#[test]
fn much_input_and_much_output_do_not_block_each_other() {
    if !common::can_run() {
        return;
    }
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        let host = Host::new("cat").unwrap();
        let output = host.command("cat").output_with_input(&vec![b'x'; 1 << 20]).unwrap();
        done.send(output.stdout.len()).unwrap();
    });
    assert_eq!(result.recv_timeout(Duration::from_secs(10)), Ok(1 << 20));
}

/// In the child of the test below, which kills it; nothing elsewhere.
#[test]
fn victim() {
    if std::env::var_os("DNSALT_LAB_VICTIM").is_none() {
        return;
    }
    let host = Host::new("victim").unwrap();
    let child = host.command("sleep").arg("1000").spawn().unwrap();
    println!("PIDS {} {}", child.pid(), fs::read_link(host.netns_path()).unwrap().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn kill_9_leaves_nothing() {
    if !common::can_run() {
        return;
    }
    let mut lab = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("DNSALT_LAB_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut stdout = lab.stdout.take().unwrap();
    while !text.contains("PIDS") || !text.ends_with('\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let line = text.lines().find(|line| line.contains("PIDS")).unwrap().to_owned();
    let words: Vec<_> = line[line.find("PIDS").unwrap()..].split(' ').collect();
    lab.kill().unwrap();
    lab.wait().unwrap();
    assert!(gone(words[1].parse().unwrap()));
    let namespaces = Command::new("lsns").args(["-t", "net", "-n", "-o", "NS"]).output().unwrap();
    let inode = words[2].trim_start_matches("net:[").trim_end_matches(']');
    assert!(!String::from_utf8_lossy(&namespaces.stdout).contains(inode));
}
