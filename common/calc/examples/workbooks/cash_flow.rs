//! The value of a project over ten years.

use rust_xlsxwriter::{Formula, Workbook, XlsxError};

use super::{Given, Model, line, put};
use Given::Number;

pub(super) fn model() -> Model {
    Model {
        name: "cash_flow",
        inputs: &[
            ("start", "Model!$B$1"),
            ("investment", "Model!$B$2"),
            ("revenue", "Model!$B$3"),
            ("growth", "Model!$B$4"),
            ("margin", "Model!$B$5"),
            ("tax", "Model!$B$6"),
            ("discount", "Model!$B$7"),
            ("life", "Model!$B$8"),
        ],
        outputs: &[
            ("npv", "Model!$B$10"),
            ("irr", "Model!$B$11"),
            ("xnpv", "Model!$B$12"),
            ("xirr", "Model!$B$13"),
            ("mirr", "Model!$B$14"),
            ("payback_year", "Model!$B$15"),
            ("profitability", "Model!$B$16"),
            ("years", "Model!$B$17"),
            ("working_days", "Model!$B$18"),
            ("peak_need", "Model!$B$19"),
            ("depreciated", "Model!$B$20"),
            ("equal_payment", "Model!$B$21"),
        ],
        sets: &[
            &[
                Number(45_292.0),
                Number(1_000_000.0),
                Number(600_000.0),
                Number(0.05),
                Number(0.4),
                Number(0.25),
                Number(0.08),
                Number(8.0),
            ],
            &[
                Number(45_351.0),
                Number(500_000.0),
                Number(450_000.0),
                Number(-0.03),
                Number(0.35),
                Number(0.21),
                Number(0.115),
                Number(5.0),
            ],
            &[
                Number(44_620.0),
                Number(2_345_678.9),
                Number(900_000.0),
                Number(0.12),
                Number(0.45),
                Number(0.0),
                Number(0.06),
                Number(10.0),
            ],
            &[
                Number(45_900.0),
                Number(100_000.0),
                Number(61_500.0),
                Number(0.0),
                Number(0.5),
                Number(0.33),
                Number(0.02),
                Number(3.0),
            ],
        ],
        build,
    }
}

fn build(book: &mut Workbook, set: &[Given]) -> Result<(), XlsxError> {
    let sheet = book.add_worksheet();
    sheet.set_name("Model")?;
    for (row, label) in
        ["Start", "Investment", "Revenue", "Growth", "Margin", "Tax", "Discount", "Life"].iter().enumerate()
    {
        sheet.write(row as u32, 0, *label)?;
        put(sheet, row as u32, 1, &set[row])?;
    }
    line(sheet, 9, "NPV", "=NPV(B7,K25:K34)+K24")?;
    line(sheet, 10, "IRR", "=IRR(K24:K34)")?;
    line(sheet, 11, "XNPV", "=XNPV(B7,K24:K34,B24:B34)")?;
    line(sheet, 12, "XIRR", "=XIRR(K24:K34,B24:B34)")?;
    line(sheet, 13, "MIRR", "=MIRR(K24:K34,B7,B7/2)")?;
    line(sheet, 14, "Payback", "=IFERROR(INDEX(A24:A34,MATCH(TRUE,INDEX(L24:L34>=0,0),0)),\"never\")")?;
    line(sheet, 15, "Profitability", "=ROUND(1+B10/B2,6)")?;
    line(sheet, 16, "Years", "=YEARFRAC(B24,B34,1)+DATEDIF(B24,B34,\"m\")/1000")?;
    line(sheet, 17, "Working days", "=NETWORKDAYS(B24,B34,N24:N27)")?;
    line(sheet, 18, "Peak need", "=-MIN(0,MIN(L24:L34))")?;
    line(sheet, 19, "Depreciated", "=SUM(F25:F34)+SUMPRODUCT(G25:G34)/2")?;
    line(sheet, 20, "Equal payment", "=IF(B10>0,-PMT(B7,10,B10),0)")?;
    for (column, heading) in [
        "Year",
        "Date",
        "Revenue",
        "Costs",
        "EBITDA",
        "Straight",
        "Declining",
        "EBIT",
        "Tax",
        "Working capital",
        "Cash flow",
        "Cumulative",
    ]
    .iter()
    .enumerate()
    {
        sheet.write(22, column as u16, *heading)?;
    }
    for (row, date) in [45_658, 46_023, 46_388, 46_753].iter().enumerate() {
        sheet.write(23 + row as u32, 13, *date)?;
    }
    for year in 0..=10_u32 {
        let (row, n) = (23 + year, 24 + year);
        sheet.write(row, 0, year)?;
        let first = year == 0;
        for (column, formula) in [
            (1, if first { "=B1".to_owned() } else { format!("=EDATE($B$1,12*A{n})") }),
            (2, if first { "=0".to_owned() } else { format!("=$B$3*(1+$B$4)^(A{n}-1)") }),
            (3, format!("=C{n}*(1-$B$5)")),
            (4, format!("=C{n}-D{n}")),
            (5, format!("=IF(AND(A{n}>0,A{n}<=$B$8),SLN($B$2,$B$2*0.1,$B$8),0)")),
            (6, format!("=IF(AND(A{n}>0,A{n}<=$B$8),DDB($B$2,$B$2*0.1,$B$8,A{n}),0)")),
            (7, format!("=E{n}-F{n}")),
            (8, format!("=MAX(0,H{n})*$B$6")),
            (9, if first { "=0".to_owned() } else { format!("=(C{n}-C{})*0.1", n - 1) }),
            (10, format!("=IF(A{n}=0,-$B$2,E{n}-I{n}-J{n})+IF(A{n}=10,SUM(J$24:J{n})+$B$2*0.1,0)")),
            (11, format!("=SUM(K$24:K{n})")),
        ] {
            sheet.write_formula(row, column, Formula::new(formula))?;
        }
    }
    Ok(())
}
