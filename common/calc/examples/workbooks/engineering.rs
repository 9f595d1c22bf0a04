//! A pipe and a frame: trigonometry, powers, units, tables, a system of equations.

use rust_xlsxwriter::{Formula, Workbook, XlsxError};

use super::{Given, Model, line, put};
use Given::{Number, Text};

pub(super) fn model() -> Model {
    Model {
        name: "engineering",
        inputs: &[
            ("diameter_mm", "Pipe!$B$1"),
            ("length_ft", "Pipe!$B$2"),
            ("flow_gal_min", "Pipe!$B$3"),
            ("temperature_f", "Pipe!$B$4"),
            ("material", "Pipe!$B$5"),
            ("angle", "Pipe!$B$6"),
        ],
        outputs: &[
            ("velocity", "Pipe!$B$9"),
            ("reynolds", "Pipe!$B$10"),
            ("friction", "Pipe!$B$11"),
            ("head_loss", "Pipe!$B$12"),
            ("pressure_psi", "Pipe!$B$13"),
            ("expansion_mm", "Pipe!$B$14"),
            ("viscosity", "Pipe!$B$15"),
            ("horizontal", "Pipe!$B$16"),
            ("direction", "Pipe!$B$17"),
            ("stress", "Pipe!$B$18"),
            ("regime", "Pipe!$B$19"),
            ("decay", "Pipe!$B$20"),
            ("solution", "Pipe!$B$21"),
            ("impedance", "Pipe!$B$22"),
            ("spread", "Pipe!$B$23"),
            ("code", "Pipe!$B$24"),
        ],
        sets: &[
            &[Number(50.0), Number(100.0), Number(40.0), Number(68.0), Text("steel"), Number(30.0)],
            &[Number(12.5), Number(8.25), Number(0.75), Number(180.0), Text("Copper"), Number(-45.0)],
            &[Number(300.0), Number(2500.0), Number(900.0), Number(41.5), Text("PVC"), Number(89.0)],
            &[Number(25.0), Number(60.0), Number(0.2), Number(33.0), Text("steel"), Number(0.0)],
        ],
        build,
    }
}

fn build(book: &mut Workbook, set: &[Given]) -> Result<(), XlsxError> {
    let sheet = book.add_worksheet();
    sheet.set_name("Pipe")?;
    for (row, label) in ["Diameter", "Length", "Flow", "Temperature", "Material", "Angle"].iter().enumerate()
    {
        sheet.write(row as u32, 0, *label)?;
        put(sheet, row as u32, 1, &set[row])?;
    }
    line(sheet, 8, "Velocity, m/s", "=CONVERT(B3,\"gal\",\"m3\")/60/(PI()*(B1/1000)^2/4)")?;
    line(sheet, 9, "Reynolds", "=B9*B1/1000/B15")?;
    line(
        sheet,
        10,
        "Friction",
        "=IF(B10<2300,64/B10,0.25/LOG10(INDEX(E2:E4,MATCH(B5,D2:D4,0))/1000/(3.7*B1/1000)+5.74/B10^0.9)^2)",
    )?;
    line(sheet, 11, "Head loss, m", "=B11*CONVERT(B2,\"ft\",\"m\")/(B1/1000)*B9^2/(2*9.80665)")?;
    line(sheet, 12, "Pressure, psi", "=998.2*9.80665*B12/6894.757293168361")?;
    line(
        sheet,
        13,
        "Expansion, mm",
        "=VLOOKUP(B5,D2:G4,3,FALSE)*CONVERT(B2,\"ft\",\"mm\")*(CONVERT(B4,\"F\",\"C\")-20)",
    )?;
    line(
        sheet,
        14,
        "Viscosity, m2/s",
        "=FORECAST(CONVERT(B4,\"F\",\"C\"),OFFSET($J$2,MATCH(CONVERT(B4,\"F\",\"C\"),$I$2:$I$8,1)-1,0,2,1),OFFSET($I$2,MATCH(CONVERT(B4,\"F\",\"C\"),$I$2:$I$8,1)-1,0,2,1))*1E-6",
    )?;
    line(sheet, 15, "Horizontal", "=CONVERT(B2,\"ft\",\"m\")*COS(RADIANS(B6))")?;
    line(sheet, 16, "Direction", "=DEGREES(ATAN2(B16+1,CONVERT(B2,\"ft\",\"m\")*SIN(RADIANS(B6))))")?;
    line(
        sheet,
        17,
        "Stress, MPa",
        "=INDEX(D2:G4,MATCH(B5,D2:D4,0),4)*1000*B14/CONVERT(B2,\"ft\",\"mm\")+SQRT(ABS(SINH(B6/90)*TANH(B9)))",
    )?;
    line(sheet, 18, "Regime", "=IFS(B10<2300,\"laminar\",B10<4000,\"critical\",TRUE,\"turbulent\")")?;
    line(sheet, 19, "Decay", "=EXP(-B2/500)*LN(1+B3)+POWER(B1,1/3)-MOD(B1,7)")?;
    line(
        sheet,
        20,
        "Solution",
        "=SUM(INDEX(MMULT(MINVERSE(L2:N4),P2:P4),1,1),INDEX(MMULT(MINVERSE(L2:N4),P2:P4),2,1)*2)+MDETERM(L2:N4)",
    )?;
    line(sheet, 21, "Impedance", "=IMABS(IMSUM(COMPLEX(B1,B2),IMDIV(\"1\",COMPLEX(0.01,B3/100))))")?;
    line(sheet, 22, "Spread", "=STDEV(J2:J8)*B9+MEDIAN(J2:J8)+LARGE(J2:J8,2)-PERCENTILE(J2:J8,0.4)")?;
    line(
        sheet,
        23,
        "Code",
        "=DEC2HEX(INT(B1))&\"-\"&BASE(ROUND(B2,0),36,4)&\"-\"&UPPER(LEFT(B5,2))&TEXT(B4,\"000.0\")",
    )?;
    for (row, values) in [
        ("steel", 0.045, 0.000_012, 210.0),
        ("copper", 0.0015, 0.000_016_5, 120.0),
        ("pvc", 0.007, 0.000_08, 3.2),
    ]
    .iter()
    .enumerate()
    {
        let row = row as u32 + 1;
        sheet
            .write(row, 3, values.0)?
            .write(row, 4, values.1)?
            .write(row, 5, values.2)?
            .write(row, 6, values.3)?;
    }
    for (row, (celsius, viscosity)) in [
        (0.0, 1.787),
        (10.0, 1.307),
        (20.0, 1.004),
        (30.0, 0.801),
        (50.0, 0.553),
        (70.0, 0.413),
        (100.0, 0.294),
    ]
    .iter()
    .enumerate()
    {
        sheet.write(row as u32 + 1, 8, *celsius)?.write(row as u32 + 1, 9, *viscosity)?;
    }
    // A symmetric stiffness that grows with the diameter, and loads.
    for (cell, formula) in [
        ((1, 11), "=2+B1/100"),
        ((1, 12), "=-1"),
        ((1, 13), "=0"),
        ((2, 11), "=-1"),
        ((2, 12), "=2+B1/50"),
        ((2, 13), "=-1"),
        ((3, 11), "=0"),
        ((3, 12), "=-1"),
        ((3, 13), "=1+B1/25"),
        ((1, 15), "=B2"),
        ((2, 15), "=B3*SIN(RADIANS(B6))"),
        ((3, 15), "=10"),
    ] {
        sheet.write_formula(cell.0, cell.1, Formula::new(formula))?;
    }
    Ok(())
}
