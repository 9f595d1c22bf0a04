//! A loan schedule of 360 months with extra payments.

use rust_xlsxwriter::{Formula, Workbook, XlsxError};

use super::{Given, Model, line, put};
use Given::Number;

pub(super) fn model() -> Model {
    Model {
        name: "loan",
        inputs: &[
            ("amount", "Loan!$B$1"),
            ("rate", "Loan!$B$2"),
            ("years", "Loan!$B$3"),
            ("extra", "Loan!$B$4"),
            ("start", "Loan!$B$5"),
        ],
        outputs: &[
            ("payment", "Loan!$B$7"),
            ("total_interest", "Loan!$B$8"),
            ("months", "Loan!$B$9"),
            ("balance_5_years", "Loan!$B$10"),
            ("interest_first_year", "Loan!$B$11"),
            ("last_date", "Loan!$B$12"),
            ("saved_interest", "Loan!$B$13"),
            ("share_of_interest", "Loan!$B$14"),
        ],
        sets: &[
            &[Number(250_000.0), Number(0.045), Number(30.0), Number(0.0), Number(45_292.0)],
            &[Number(250_000.0), Number(0.045), Number(30.0), Number(150.0), Number(45_292.0)],
            &[Number(80_000.0), Number(0.0), Number(10.0), Number(0.0), Number(45_351.0)],
            &[Number(12_345.67), Number(0.129), Number(5.0), Number(25.5), Number(44_957.0)],
            &[Number(1_000_000.0), Number(0.0725), Number(25.0), Number(5_000.0), Number(45_688.0)],
        ],
        build,
    }
}

fn build(book: &mut Workbook, set: &[Given]) -> Result<(), XlsxError> {
    let sheet = book.add_worksheet();
    sheet.set_name("Loan")?;
    for (row, label) in ["Amount", "Rate", "Years", "Extra", "Start"].iter().enumerate() {
        sheet.write(row as u32, 0, *label)?;
        put(sheet, row as u32, 1, &set[row])?;
    }
    line(sheet, 6, "Payment", "=ROUND(IF(B2=0,B1/(B3*12),-PMT(B2/12,B3*12,B1)),2)")?;
    line(sheet, 7, "Interest in all", "=SUM(D18:D377)")?;
    line(sheet, 8, "Months", "=COUNTIF(C18:C377,\">0\")")?;
    line(sheet, 9, "Balance after 5 years", "=INDEX(G18:G377,MATCH(60,A18:A377,0))")?;
    line(sheet, 10, "Interest of the first year", "=SUMIFS(D18:D377,A18:A377,\"<=12\")")?;
    line(sheet, 11, "Last payment on", "=EDATE(B5,B9)")?;
    line(sheet, 12, "Interest saved", "=IF(B2=0,0,ROUND(-CUMIPMT(B2/12,B3*12,B1,1,B3*12,0)-B8,4))")?;
    line(sheet, 13, "Part of interest", "=IFERROR(B8/(B8+B1),0)")?;
    for (column, heading) in
        ["Month", "Opening", "Paid", "Interest", "Principal", "Extra", "Closing"].iter().enumerate()
    {
        sheet.write(16, column as u16, *heading)?;
    }
    for month in 1..=360_u32 {
        let row = 16 + month;
        let n = row + 1;
        sheet.write(row, 0, month)?;
        let opening = if month == 1 { "=B1".to_owned() } else { format!("=G{}", n - 1) };
        for (column, formula) in [
            (1, opening),
            (2, format!("=IF(B{n}<=0,0,MIN($B$7,B{n}+D{n}))")),
            (3, format!("=ROUND(B{n}*$B$2/12,2)")),
            (4, format!("=C{n}-IF(C{n}>0,D{n},0)")),
            (5, format!("=IF(C{n}>0,MAX(0,MIN($B$4,B{n}-E{n})),0)")),
            (6, format!("=IF(A{n}>=$B$3*12,0,ROUND(B{n}-E{n}-F{n},2))")),
        ] {
            sheet.write_formula(row, column, Formula::new(formula))?;
        }
    }
    Ok(())
}
