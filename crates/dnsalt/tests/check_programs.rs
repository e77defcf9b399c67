//! Real programs and libraries that ask by themselves, in networks of the lab: `dnsalt check` watches
//! at the servers, and says of each what an expert would.

mod common;

use common::judged::{assert_broken, names, watched};
use common::network;

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
    let judgement = watched(&network, |host| {
        host.sh("perl -e 'gethostbyname(\"n$_.stub.example\") for 1..400'").unwrap();
    });
    // The GNU C library's or musl's; another would be news.
    assert_eq!(names(&judgement), ["clock-ids"], "{judgement:#}");
    assert_eq!(judgement["verdict"], "weak");
}
