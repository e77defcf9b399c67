//! The page of `dnsalt serve`: a real browser looks its names up by real resolvers, with and without nginx before it.

mod common;

use std::net::IpAddr;
use std::path::Path;

use common::browser::{self, Browser};
use common::delegated::{Net, net};
use common::unpacked::{is_there, lay_over};
use common::{BIN, can_run, documents};
use dnsalt_lab::{Host, Running};

const PAGE: &str = "http://10.9.0.1:8053/";
const DONE: &str = "document.querySelector('main')?.dataset.state === 'done'";

/// A server with a page, and a host whose system resolver is its own.
fn page(web: &str) -> Option<Net> {
    if !browser::is_installed() {
        return None;
    }
    let net = net(&["--web", web])?;
    net.client.resolv_conf(&[IpAddr::from([127, 0, 0, 1])]).unwrap();
    Some(net)
}

/// The only block of this kind in the guide.
fn example(kind: &str) -> String {
    let guide = documents::root().join("docs/guide/port-test.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, block) = guide.split_once(&format!("```{kind}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// As many points as queries in a plot.
fn points(browser: &mut Browser, plot: &str) -> u64 {
    browser.value(&format!("document.querySelectorAll('#{plot} circle').length")).as_u64().unwrap()
}

#[test]
fn a_resolver_with_a_fixed_port_is_broken_and_its_result_has_a_link() {
    let Some(net) = page("10.9.0.1:8053") else { return };
    let _bind = net.bind("query-source address * port 33333; send-cookie no;");
    let Some(mut browser) = Browser::start(&net.client) else { return };
    browser.appear(1000, "light");
    browser.open(PAGE);
    browser.until("document.querySelectorAll('#ports circle').length > 0");
    // It shows what is there before all of it is.
    assert_eq!(browser.value(DONE), false);
    browser.until(DONE);
    browser.picture("page-weak.png");
    let queries = points(&mut browser, "ports");
    assert!(queries >= 60 && points(&mut browser, "ids") == queries, "{queries}");
    let said = browser.value("document.getElementById('ports').getAttribute('aria-label')");
    assert_eq!(said, format!("{queries} queries, 1 port"));
    let seen = browser.text("#live");
    println!("{seen}");
    for text in [
        "broken Answers to your resolver can be forged at once: with 100 Mbit/s",
        "10.9.0.9 broken",
        "Every query leaves from port 33333.",
        "port\n0.0 bits",
        "query-source",
        "no DNS cookies; EDNS with 1232 bytes",
    ] {
        assert!(seen.contains(text), "{text}");
    }
    let rows = browser.value("document.querySelectorAll('#rows tr').length");
    assert_eq!(rows, queries);

    // Nothing but what is its own, and nobody else may show it.
    let headers = browser.value(
        "fetch('/').then(page => [...page.headers].map(([name, value]) => `${name}: ${value}`).join('\\n'))",
    );
    let headers = headers.as_str().unwrap();
    for text in [
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src *.t.example;",
        "frame-ancestors 'none'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ] {
        assert!(headers.contains(text), "{text}: {headers}");
    }

    // The result is there for whoever has the link, and on a small screen as well.
    let link = browser.text("#link");
    browser.open("about:blank");
    browser.appear(390, "dark");
    browser.open(&link);
    browser.until(DONE);
    browser.picture("page-weak-phone.png");
    assert_eq!(points(&mut browser, "ports"), queries);
    assert!(browser.text("#headline").contains("can be forged at once"));
    let fits = browser.value("document.documentElement.scrollWidth <= innerWidth");
    assert_eq!(fits, true);
    // Neither for one who makes up a link, nor for the resolver, which knows the token.
    let wrong = link.replace("/r/", "/r/0");
    browser.open(&wrong);
    browser.until(DONE);
    assert!(browser.text("#headline").contains("This result is gone"));
}

#[test]
fn behind_nginx_a_resolver_with_random_case_is_strong() {
    if !can_run(&["unbound", "openssl"]) || !is_there("nginx", "/usr/sbin/nginx") {
        return;
    }
    let Some(net) = page("127.0.0.1:8053") else { return };
    let _unbound = net.unbound("use-caps-for-id: yes");
    let Some(_nginx) = nginx(&net.server) else { return };
    let Some(mut browser) = Browser::start(&net.client) else { return };
    browser.appear(1000, "light");
    browser.open("https://t.example/");
    browser.until("document.querySelectorAll('#ports circle').length > 0");
    // Events pass the proxy as they come.
    assert_eq!(browser.value(DONE), false);
    browser.until(DONE);
    browser.picture("page-strong.png");
    let seen = browser.text("#live");
    println!("{seen}");
    for text in ["strong Answers to your resolver are too hard to forge", "letter case\n"] {
        assert!(seen.contains(text), "{text}");
    }
    assert!(!seen.contains("What to do"));
    assert!(browser.text("#link").starts_with("https://t.example/r/"));
    let copied = browser.value(
        "new Promise(done => { navigator.clipboard.writeText = async text => done(text);
            document.getElementById('copy').click(); })",
    );
    assert_eq!(copied, browser.text("#link"));
}

/// With the configuration of the guide, but for the names in it.
fn nginx(host: &Host) -> Option<Running> {
    if !lay_over(host, "nginx", "/usr/sbin/nginx") {
        return None;
    }
    let server = example("nginx")
        .replace("/etc/letsencrypt/live/t.example.net", "/run/tls")
        .replace("t.example.net", "t.example");
    let configuration = format!(
        "daemon off; pid /run/nginx.pid; error_log stderr; events {{ }}
        http {{ client_body_temp_path /run/body; proxy_temp_path /run/proxy; fastcgi_temp_path /run/fastcgi;
        uwsgi_temp_path /run/uwsgi; scgi_temp_path /run/scgi;
        {server} }}"
    );
    host.run(move || std::fs::write("/run/nginx.conf", configuration).unwrap());
    host.sh("mkdir -p /run/tls
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=t.example \
            -keyout /run/tls/privkey.pem -out /run/tls/fullchain.pem 2>/dev/null
        nginx -t -q -e stderr -c /run/nginx.conf")
        .unwrap();
    Some(host.command("nginx").args(["-e", "stderr", "-c", "/run/nginx.conf"]).spawn().unwrap())
}

#[test]
fn a_browser_whose_names_do_not_arrive_is_told_so() {
    let Some(net) = page("10.9.0.1:8053") else { return };
    let Some(mut browser) = Browser::start(&net.client) else { return };
    browser.open(PAGE);
    browser.until(DONE);
    assert!(browser.text("#headline").starts_with("None of the names was asked for."));
    assert_eq!(browser.value("document.getElementById('link').checkVisibility()"), false);
}

#[test]
fn systemd_takes_the_unit_of_the_guide() {
    if !can_run(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("port-test.service");
    std::fs::write(&unit, example("ini").replace("/usr/bin/dnsalt", BIN)).unwrap();
    let said = verify(&unit);
    assert!(said.is_empty(), "{said}");
    std::fs::write(&unit, "[Service]\nExecStart=/nowhere\n").unwrap();
    assert!(!verify(&unit).is_empty());
}

fn verify(unit: &Path) -> String {
    let output = std::process::Command::new("systemd-analyze").arg("verify").arg(unit).output();
    String::from_utf8(output.unwrap().stderr).unwrap()
}
