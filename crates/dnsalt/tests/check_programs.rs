//! Real programs and libraries that ask by themselves, in networks of the lab: `dnsalt check` watches
//! at the servers, and says of each what an expert would.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use common::judged::{PATIENCE, assert_broken, names, watched};
use common::unpacked::network_with;
use common::{eventually, network};

#[test]
fn adns_has_one_port_and_counts() {
    let Some(network) = network(&["adnshost"]) else { return };
    let judgement = watched(&network, |host| {
        let list: String = (0..80).map(|i| format!(" -ta n{i}.adns.example")).collect();
        host.sh(&format!("adnshost{list} > /dev/null")).unwrap();
    });
    assert_broken(&judgement, &["fixed-port", "sequential-id"]);
}

#[test]
fn nmap_has_one_port_and_counts() {
    let Some(network) = network(&["nmap"]) else { return };
    let judgement = watched(&network, |host| {
        host.sh("nmap -sL -R --dns-servers 10.53.2.53 10.99.0.0/28 > /dev/null").unwrap();
    });
    assert_broken(&judgement, &["fixed-port", "sequential-id"]);
}

#[test]
fn perls_net_dns_draws_from_drand48() {
    let Some(network) = network(&["perl"]) else { return };
    if network.net.resolver.sh("perl -MNet::DNS -e 1").is_err() {
        eprintln!("skipped: perl has no Net::DNS");
        return;
    }
    let judgement = watched(&network, |host| {
        host.sh(
            "perl -MNet::DNS -e 'my $r = Net::DNS::Resolver->new(nameservers => [\"10.53.2.53\"]);
             $r->send(\"n$_.perl.example\", \"A\") for 1..60'",
        )
        .unwrap();
    });
    assert_broken(&judgement, &["drand48"]);
}

#[test]
fn the_stub_of_the_c_library_reads_ids_off_the_clock() {
    let Some(network) = network(&["perl"]) else { return };
    let judged = || {
        watched(&network, |host| {
            host.sh("perl -e 'gethostbyname(\"n$_.stub.example\") for 1..400'").unwrap();
        })
    };
    let mut judgement = judged();
    // On a busy machine some queries leave long after their IDs were read off the clock.
    for _ in 0..4 {
        if names(&judgement) == ["clock-ids"] {
            break;
        }
        judgement = judged();
    }
    // The GNU C library's or musl's; another would be news.
    assert_eq!(names(&judgement), ["clock-ids"], "{judgement:#}");
    assert_eq!(judgement["verdict"], "weak");
}

/// Its resolver has one socket, and takes IDs from the C library's `random()`.
#[test]
fn nginx_has_one_port_and_draws_from_random() {
    let program = "/usr/sbin/nginx";
    let Some(network) = network_with("nginx", program, &[]) else { return };
    let host = &network.net.resolver;
    let configuration = "daemon off; master_process off; pid /run/nginx.pid; error_log stderr;
        events { }
        http {
            access_log off;
            client_body_temp_path /run/body; proxy_temp_path /run/proxy;
            fastcgi_temp_path /run/fastcgi; uwsgi_temp_path /run/uwsgi; scgi_temp_path /run/scgi;
            resolver 10.53.2.53 valid=1s ipv6=off;
            server { listen 127.0.0.1:8080; location / { proxy_pass http://$host:9; } }
        }\n";
    host.run(move || std::fs::write("/run/nginx.conf", configuration).unwrap());
    // Where all names lead to; nobody listens there.
    host.address("lo", "192.0.2.80/32").unwrap();
    let nginx = host
        .command(program)
        .args(["-e", "stderr", "-p", "/run", "-c", "/run/nginx.conf"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let get = |name: String| {
        host.run(move || {
            let mut connection = TcpStream::connect("127.0.0.1:8080")?;
            write!(connection, "GET / HTTP/1.0\r\nHost: {name}\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer).map(|_| answer)
        })
    };
    eventually("nginx listens", PATIENCE, || get("localhost".to_owned()).is_ok());
    let judgement = watched(&network, |_| {
        for i in 0..120 {
            let answer = get(format!("name{i}.example")).unwrap();
            assert!(answer.contains("502 Bad Gateway"), "{answer}");
        }
    });
    drop(nginx);
    assert_broken(&judgement, &["fixed-port", "lagged-fibonacci"]);
}

/// CVE-2026-28810.
#[test]
fn erlangs_inet_res_counts() {
    let program = "/usr/bin/erl";
    let Some(network) = network_with("erlang-base", program, &[]) else { return };
    let judgement = watched(&network, |host| {
        let ask =
            "[{ok, _} = inet_res:resolve(\"name\" ++ integer_to_list(I) ++ \".example\", in, a,
                [{nameservers, [{{10, 53, 2, 53}, 53}]}]) || I <- lists:seq(1, 60)], halt().";
        let erl = host.command(program).args(["-noshell", "-eval", ask]);
        // It would run the .erlang of whoever tests.
        let erl = erl.env("HOME", "/run").env("ERL_CRASH_DUMP_SECONDS", "0");
        let output = erl.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
    assert_broken(&judgement, &["sequential-id"]);
}
