//! What is in the tables of a real kernel.

mod common;

use std::path::Path;
use std::time::Instant;

use common::{
    BPFFS, await_next, client, down, network, query, reply, socket, up_for_a_while, with_id,
};
use dnsalt_bpf::Occupancy;
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::Settings;

fn occupancy(network: &Gateway) -> Option<Occupancy> {
    network.gateway.run(|| dnsalt_bpf::occupancy(Path::new(BPFFS)).unwrap())
}

#[test]
fn outstanding_queries_and_lockdowns_are_counted() {
    let Some(network) = network(&[]) else { return };
    assert_eq!(occupancy(&network), None);
    up_for_a_while(&network, &Settings { lockdown_after: Some(2), ..Settings::default() });
    let began = Instant::now();
    let empty = occupancy(&network).unwrap();
    println!("looked through in {:?}", began.elapsed());
    assert_eq!((empty.outstanding(), empty.locked_down), (0, 0));
    assert_eq!((empty.ports, empty.slots()), (64_508, 8 * 64_508));

    let address = network.servers_v4[0];
    let server = socket(&network.upstream, (address, 53));
    let client = client(&network, false);
    let ask = |n: u16| {
        client.send_to(&query(n, &format!("n{n}.test")), (address, 53)).unwrap();
        await_next(&server)
    };
    let asked: Vec<_> = (0..20).map(ask).collect();
    let some = occupancy(&network).unwrap();
    assert_eq!(some.outstanding(), 20);
    assert_eq!(some.outstanding.iter().max(), Some(&20), "one pair has one way");
    assert!((some.headroom() - (1.0 - 20.0 / 64_508.0)).abs() < 1e-9);

    for (seen, from) in &asked[..15] {
        server.send_to(&reply(seen), from).unwrap();
        await_next(&client);
    }
    assert_eq!(occupancy(&network).unwrap().outstanding(), 5);

    for (seen, from) in &asked[15..17] {
        server.send_to(&with_id(reply(seen), 0), from).unwrap();
    }
    common::eventually(|| occupancy(&network).unwrap().locked_down == 1);
    down(&network.gateway);
    assert_eq!(occupancy(&network), None);
}
