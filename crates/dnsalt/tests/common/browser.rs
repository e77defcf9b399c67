//! A real browser without a window, told what to do by the `DevTools` protocol over two pipes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use data_encoding::BASE64;
use dnsalt_lab::{Host, Running};
use serde_json::{Value, json};

use super::eventually;
use super::unpacked::{is_there, lay_over};

const PACKAGE: &str = "chromium-headless-shell";
const PROGRAM: &str = "/usr/lib/chromium/chromium-headless-shell";
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Browser {
    commands: File,
    messages: Receiver<Value>,
    session: String,
    count: u32,
    _running: Running,
}

/// Says so if there is none.
pub(crate) fn is_installed() -> bool {
    is_there(PACKAGE, PROGRAM)
}

impl Browser {
    /// Starts on a host, whose system resolver it asks; none, with the reason said, where that cannot be done.
    pub(crate) fn start(host: &Host) -> Option<Self> {
        if !lay_over(host, PACKAGE, PROGRAM) {
            return None;
        }
        let running = host
            .command("sh")
            .args([
                "-euc",
                "mkdir -p /run/browser; cd /run/browser; mkfifo commands messages; : > ready
                export HOME=/run/browser
                exec \"$0\" --no-sandbox --ignore-certificate-errors --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe \
                    --user-data-dir=/run/browser about:blank 3<>commands 4<>messages",
                PROGRAM,
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pipe = |name: &'static str| {
            let path = Path::new("/run/browser").join(name);
            host.run(move || File::options().read(true).write(true).open(path).unwrap())
        };
        eventually("the browser starts", PATIENCE, || {
            host.run(|| fs::exists("/run/browser/ready").unwrap())
        });
        let (commands, out) = (pipe("commands"), pipe("messages"));
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0) {
                let message = serde_json::from_slice(&message.unwrap()).unwrap();
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Browser { commands, messages, session: String::new(), count: 0, _running: running };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &target);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        Some(browser)
    }

    /// Opens an address.
    pub(crate) fn open(&mut self, address: &str) {
        let opened = self.call("Page.navigate", &json!({ "url": address }));
        assert_eq!(opened.get("errorText"), None, "{address}");
    }

    /// What an expression of JavaScript gives.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let wanted = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut given = self.call("Runtime.evaluate", &wanted);
        assert!(given.get("exceptionDetails").is_none(), "{expression}: {given}");
        given["result"]["value"].take()
    }

    /// The text of an element, as it is seen.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({selector:?}).innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        eventually(expression, PATIENCE, || self.value(expression) == true);
    }

    /// With a window of this width in CSS pixels, and the colours that the user prefers.
    pub(crate) fn appear(&mut self, width: u32, colours: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": colours});
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
        let screen = json!({"width": width, "height": 800, "deviceScaleFactor": 1,
            "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// A picture of the whole page, beside other files of tests: to be looked at.
    pub(crate) fn picture(&mut self, name: &str) {
        let wanted = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", &wanted);
        let picture = BASE64.decode(picture["data"].as_str().unwrap().as_bytes()).unwrap();
        fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), picture).unwrap();
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.count += 1;
        let mut command = json!({"id": self.count, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut message = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if message["id"] == self.count {
                assert_eq!(message.get("error"), None, "{command}");
                return message["result"].take();
            }
        }
    }
}
