//! The report as comma-separated values (RFC 4180): one line for each resolver.

use super::report::Report;

const HEAD: &str = "resolver,verdict,t50_seconds,bits,ports,ids,case_bits,cookie_bits,identical,\
queries,sample,retransmissions,answered,tcp_queries,distinct_ports,lowest_port,highest_port,\
port_deviation,oarc_grade,wrong_id,wrong_question,wrong_server,wrong_port,findings,reason";

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut text = format!("{HEAD}\n");
    for judged in &report.resolvers {
        let (overall, counters) = (&judged.overall, &judged.counters);
        let target = &overall.target;
        let known = |value: f64, digits: usize| match overall.t50 {
            Some(_) => format!("{value:.digits$}"),
            None => String::new(),
        };
        let findings: Vec<&str> = overall.findings.iter().map(|finding| &*finding.name).collect();
        let cells = [
            judged.address.to_string(),
            judged.worst().word().to_owned(),
            overall.t50.map(|t50| format!("{t50:.3}")).unwrap_or_default(),
            known(target.bits(), 2),
            known(target.ports, 1),
            known(target.ids, 1),
            format!("{:.2}", target.case_bits),
            format!("{:.2}", target.cookie_bits),
            format!("{:.0}", target.identical),
            counters.queries.to_string(),
            overall.sample.to_string(),
            counters.retransmissions.to_string(),
            counters.answered.to_string(),
            counters.tcp_queries.to_string(),
            overall.ports.distinct.to_string(),
            overall.ports.lowest.to_string(),
            overall.ports.highest.to_string(),
            format!("{:.0}", overall.ports.deviation),
            overall.oarc.to_string(),
            counters.wrong_id.to_string(),
            counters.wrong_question.to_string(),
            counters.wrong_server.to_string(),
            counters.wrong_port.to_string(),
            quoted(&findings.join(" ")),
            quoted(&overall.reason),
        ];
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
