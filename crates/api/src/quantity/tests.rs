#![allow(clippy::unwrap_used)]

use super::Quantity;
use proptest::prelude::*;

fn canonical(text: &str) -> String {
    text.parse::<Quantity>().unwrap().to_string()
}

#[test]
fn canonical_form_is_the_shortest_exact_one() {
    for (text, expected) in [
        ("0", "0"),
        ("-0", "0"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("1000m", "1"),
        ("1000", "1k"),
        ("12e6", "12e6"),
        ("12000000", "12M"),
        ("1E", "1E"),
        ("0.5Ki", "512"),
        ("0.0001Ki", "102400u"),
        ("1.0001Ki", "1025"),
        ("+5", "5"),
        ("-1.5", "-1500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.1n", "1n"),
        ("1e3", "1e3"),
        ("1023Ki", "1023Ki"),
        ("9223372036854775807", "9223372036854775807"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn what_is_too_large_is_capped_and_what_is_too_fine_rounds_up() {
    let largest = "9223372036854775807";
    assert_eq!(canonical("99999999999999999999999"), largest);
    assert_eq!(canonical("1e2147483647"), "9223372036854775807");
    assert_eq!("1000Ei".parse::<Quantity>().unwrap().units(), i64::MAX);
    assert_eq!("0.0000000001".parse::<Quantity>().unwrap().nanos(), 1);
    assert_eq!("1e-100".parse::<Quantity>().unwrap().nanos(), 1);
    assert_eq!("1m".parse::<Quantity>().unwrap().units(), 1);
    assert_eq!("-1m".parse::<Quantity>().unwrap().units(), -1);
}

#[test]
fn what_is_not_a_quantity_is_refused() {
    for bad in [
        "", "x", "1x", "1.2.3", ".", "-", "1Kii", "1 Gi", "e3", "1ee3", "0x1", "\u{663}",
    ] {
        assert!(bad.parse::<Quantity>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in ".{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn canonical_form_is_stable_and_exact(
        whole in 0u64..1_000_000_000, fraction in "[0-9]{0,6}",
        suffix in prop::sample::select(vec!["n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2"]),
    ) {
        let text = format!("{whole}.{fraction}{suffix}");
        let parsed: Quantity = text.parse().unwrap();
        let again: Quantity = parsed.to_string().parse().unwrap();
        prop_assert_eq!(again.to_string(), parsed.to_string());
        // A binary suffix holds whole units only.
        if suffix.ends_with('i') {
            prop_assert_eq!(again.units(), parsed.units());
        } else {
            prop_assert_eq!(again, parsed);
        }
    }

    #[test]
    fn millis_and_units_agree_with_integers(value in 0i64..1_000_000_000_000) {
        let millis: Quantity = format!("{value}m").parse().unwrap();
        prop_assert_eq!(millis.millis(), value);
        prop_assert_eq!(millis.units(), (value + 999) / 1000);
        let bytes: Quantity = format!("{value}Ki").parse().unwrap();
        prop_assert_eq!(bytes.units(), value * 1024);
        prop_assert_eq!(Quantity::from_bytes(value * 1024).to_string(), bytes.to_string());
        prop_assert_eq!(Quantity::from_millis(value), millis);
    }
}
