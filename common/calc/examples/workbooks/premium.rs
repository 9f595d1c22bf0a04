//! The premium of a term insurance from a mortality table.

use rust_xlsxwriter::{Formula, Workbook, XlsxError};

use super::{Given, Model, line, put};
use Given::{Number, Text};

pub(super) fn model() -> Model {
    Model {
        name: "premium",
        inputs: &[
            ("age", "Quote!$B$1"),
            ("sex", "Quote!$B$2"),
            ("smoker", "Quote!$B$3"),
            ("sum_insured", "Quote!$B$4"),
            ("term", "Quote!$B$5"),
            ("interest", "Quote!$B$6"),
            ("frequency", "Quote!$B$7"),
        ],
        outputs: &[
            ("net_single", "Quote!$B$10"),
            ("annuity", "Quote!$B$11"),
            ("net_premium", "Quote!$B$12"),
            ("loading", "Quote!$B$13"),
            ("gross_premium", "Quote!$B$14"),
            ("instalment", "Quote!$B$15"),
            ("band", "Quote!$B$16"),
            ("decision", "Quote!$B$17"),
            ("expected_age_at_end", "Quote!$B$18"),
        ],
        sets: &[
            &[
                Number(35.0),
                Text("f"),
                Text("no"),
                Number(250_000.0),
                Number(20.0),
                Number(0.025),
                Number(12.0),
            ],
            &[
                Number(52.0),
                Text("m"),
                Text("yes"),
                Number(100_000.0),
                Number(15.0),
                Number(0.015),
                Number(4.0),
            ],
            &[
                Number(20.0),
                Text("M"),
                Text("No"),
                Number(1_000_000.0),
                Number(40.0),
                Number(0.03),
                Number(1.0),
            ],
            &[
                Number(64.0),
                Text("f"),
                Text("YES"),
                Number(49_999.99),
                Number(10.0),
                Number(0.0),
                Number(2.0),
            ],
            &[Number(71.0), Text("f"), Text("no"), Number(5_000.0), Number(25.0), Number(0.02), Number(12.0)],
        ],
        build,
    }
}

fn build(book: &mut Workbook, set: &[Given]) -> Result<(), XlsxError> {
    let quote = book.add_worksheet();
    quote.set_name("Quote")?;
    for (row, label) in ["Age", "Sex", "Smoker", "Sum", "Term", "Interest", "Frequency"].iter().enumerate() {
        quote.write(row as u32, 0, *label)?;
        put(quote, row as u32, 1, &set[row])?;
    }
    line(quote, 9, "Net single premium", "=B4*SUMPRODUCT(Values!F2:F61)")?;
    line(quote, 10, "Annuity", "=SUMPRODUCT(Values!D2:D61,Values!E2:E61)")?;
    line(quote, 11, "Net premium", "=B10/B11")?;
    line(
        quote,
        12,
        "Loading",
        "=VLOOKUP(B4,Tables!$F$2:$G$6,2,TRUE)*IF(UPPER(B3)=\"YES\",1.15,1)+CHOOSE(MATCH(B7,{1,2,4,12},0),0,0.01,0.015,0.03)",
    )?;
    line(quote, 13, "Gross premium", "=ROUND(B12*(1+B13)+24,2)")?;
    line(quote, 14, "Instalment", "=ROUNDUP(B14/B7,2)")?;
    line(quote, 15, "Band", "=LOOKUP(B4,Tables!$F$2:$F$6,Tables!$H$2:$H$6)&\"-\"&TEXT(B1,\"000\")")?;
    line(
        quote,
        16,
        "Decision",
        "=IF(OR(B1+B5>95,B4>2000000),\"decline\",IF(AND(B1>=60,LOWER(B3)=\"yes\"),\"refer\",\"accept\"))",
    )?;
    line(quote, 17, "Expected age", "=B1+SUMPRODUCT(Values!D2:D61*(Values!A2:A61<B5))")?;
    let values = book.add_worksheet();
    values.set_name("Values")?;
    for (column, heading) in ["t", "age", "q", "alive", "due", "claims"].iter().enumerate() {
        values.write(0, column as u16, *heading)?;
    }
    for t in 0..60_u32 {
        let (row, n) = (t + 1, t + 2);
        values.write(row, 0, t)?;
        let alive = if t == 0 { "=1".to_owned() } else { format!("=D{}*(1-C{})", n - 1, n - 1) };
        for (column, formula) in [
            (1, format!("=MIN(Quote!$B$1+A{n},110)")),
            (
                2,
                format!(
                    "=MIN(1,INDEX(Tables!$B$2:$C$112,MATCH(B{n},Tables!$A$2:$A$112,0),IF(LOWER(Quote!$B$2)=\"m\",1,2))*IF(LOWER(Quote!$B$3)=\"yes\",1.9,1))"
                ),
            ),
            (3, alive),
            (4, format!("=IF(A{n}<Quote!$B$5,(1+Quote!$B$6)^-A{n},0)")),
            (5, format!("=IF(A{n}<Quote!$B$5,D{n}*C{n}*(1+Quote!$B$6)^-(A{n}+0.5),0)")),
        ] {
            values.write_formula(row, column, Formula::new(formula))?;
        }
    }
    let tables = book.add_worksheet();
    tables.set_name("Tables")?;
    for (column, heading) in ["age", "m", "f"].iter().enumerate() {
        tables.write(0, column as u16, *heading)?;
    }
    for age in 0..=110_u32 {
        // Makeham's law, to six digits.
        let x = f64::from(age);
        let q = |a: f64, b: f64, c: f64| ((a + b * c.powf(x)).min(1.0) * 1e6).round() / 1e6;
        tables.write(age + 1, 0, age)?;
        tables.write(age + 1, 1, q(0.0005, 0.000_075_858, 1.091_44))?;
        tables.write(age + 1, 2, q(0.0003, 0.000_045_2, 1.092))?;
    }
    for (row, (from, loading, band)) in [
        (0, 0.35, "S"),
        (50_000, 0.3, "M"),
        (100_000, 0.25, "L"),
        (250_000, 0.22, "XL"),
        (1_000_000, 0.2, "XXL"),
    ]
    .iter()
    .enumerate()
    {
        tables.write(row as u32 + 1, 5, *from)?;
        tables.write(row as u32 + 1, 6, *loading)?;
        tables.write(row as u32 + 1, 7, *band)?;
    }
    Ok(())
}
