//! Bodies that kubectl 1.37.1 sent (see `testdata/README.md`), beside the JSON that it makes of the same objects.

use super::read;
use serde_json::Value;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn what_kubectl_sends_reads_as_the_json_it_prints() {
    let lines = include_str!("../../../../testdata/protobuf/kubectl.jsonl").lines();
    let cases: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let body = bytes(case["hex"].as_str().unwrap());
        assert_eq!(read(&body), case["json"], "{}", case["case"]);
    }
}
