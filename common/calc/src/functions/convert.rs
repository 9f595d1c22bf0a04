//! `CONVERT`. Source: Microsoft's description of `CONVERT`; the factors are those of the international definitions.

use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    vec![FunctionInfo::general("CONVERT", 3, 3, convert, "A measure in another unit.")]
}

/// Quantities: units convert within one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Mass,
    Distance,
    Time,
    Pressure,
    Force,
    Energy,
    Power,
    Magnetism,
    Temperature,
    Volume,
    Area,
    Information,
    Speed,
}

use Quantity::{
    Area, Distance, Energy, Force, Information, Magnetism, Mass, Power, Pressure, Speed, Temperature, Time,
    Volume,
};

/// A unit: its name, its quantity, its size in the quantity's base unit, and the power of its prefixes (0 for none).
type Unit = (&'static str, Quantity, f64, i32);

const INCH: f64 = 0.0254;
const FOOT: f64 = 0.3048;
const YARD: f64 = 0.9144;
const MILE: f64 = 1609.344;
const NAUTICAL: f64 = 1852.0;
const SURVEY: f64 = 6_336_000.0 / 3937.0;
const LIGHT_YEAR: f64 = 9_460_730_472_580_800.0;
const PARSEC: f64 = 3.085_677_581_491_367e16;
const PICA: f64 = INCH / 72.0;
const PICA_SIXTH: f64 = INCH / 6.0;
const POUND: f64 = 453.592_37;
const GALLON: f64 = 231.0 * INCH * INCH * INCH * 1000.0;
const UK_PINT: f64 = 0.568_261_25;

const fn cube(x: f64) -> f64 {
    x * x * x * 1000.0
}

const UNITS: &[Unit] = &[
    ("g", Mass, 1.0, 1),
    ("sg", Mass, 14_593.902_937_206_4, 0),
    ("lbm", Mass, POUND, 0),
    ("u", Mass, 1.660_538_782e-24, 1),
    ("ozm", Mass, POUND / 16.0, 0),
    ("grain", Mass, POUND / 7000.0, 0),
    ("cwt", Mass, POUND * 100.0, 0),
    ("shweight", Mass, POUND * 100.0, 0),
    ("uk_cwt", Mass, POUND * 112.0, 0),
    ("lcwt", Mass, POUND * 112.0, 0),
    ("hweight", Mass, POUND * 112.0, 0),
    ("stone", Mass, POUND * 14.0, 0),
    ("ton", Mass, POUND * 2000.0, 0),
    ("uk_ton", Mass, POUND * 2240.0, 0),
    ("LTON", Mass, POUND * 2240.0, 0),
    ("brton", Mass, POUND * 2240.0, 0),
    ("m", Distance, 1.0, 1),
    ("mi", Distance, MILE, 0),
    ("Nmi", Distance, NAUTICAL, 0),
    ("in", Distance, INCH, 0),
    ("ft", Distance, FOOT, 0),
    ("yd", Distance, YARD, 0),
    ("ang", Distance, 1e-10, 1),
    ("ell", Distance, 1.143, 0),
    ("ly", Distance, LIGHT_YEAR, 1),
    ("parsec", Distance, PARSEC, 1),
    ("pc", Distance, PARSEC, 1),
    ("Picapt", Distance, PICA, 0),
    ("Pica", Distance, PICA, 0),
    ("pica", Distance, PICA_SIXTH, 0),
    ("survey_mi", Distance, SURVEY, 0),
    ("yr", Time, 31_557_600.0, 0),
    ("day", Time, 86_400.0, 0),
    ("d", Time, 86_400.0, 0),
    ("hr", Time, 3600.0, 0),
    ("mn", Time, 60.0, 0),
    ("min", Time, 60.0, 0),
    ("sec", Time, 1.0, 1),
    ("s", Time, 1.0, 1),
    ("Pa", Pressure, 1.0, 1),
    ("p", Pressure, 1.0, 1),
    ("atm", Pressure, 101_325.0, 1),
    ("at", Pressure, 101_325.0, 1),
    ("mmHg", Pressure, 133.322, 1),
    ("psi", Pressure, 6_894.757_293_168_361, 0),
    ("Torr", Pressure, 101_325.0 / 760.0, 0),
    ("N", Force, 1.0, 1),
    ("dyn", Force, 1e-5, 1),
    ("dy", Force, 1e-5, 1),
    ("lbf", Force, 4.448_221_615_260_5, 0),
    ("pond", Force, 0.009_806_65, 1),
    ("J", Energy, 1.0, 1),
    ("e", Energy, 1e-7, 1),
    ("c", Energy, 4.184, 1),
    ("cal", Energy, 4.1868, 1),
    ("eV", Energy, 1.602_176_487e-19, 1),
    ("ev", Energy, 1.602_176_487e-19, 1),
    ("HPh", Energy, 2_684_519.537_696_173, 0),
    ("hh", Energy, 2_684_519.537_696_173, 0),
    ("Wh", Energy, 3600.0, 1),
    ("wh", Energy, 3600.0, 1),
    ("flb", Energy, 1.355_817_948_331_400_4, 0),
    ("BTU", Energy, 1_055.055_852_62, 0),
    ("btu", Energy, 1_055.055_852_62, 0),
    ("HP", Power, 745.699_871_582_270_2, 0),
    ("h", Power, 745.699_871_582_270_2, 0),
    ("PS", Power, 735.498_75, 0),
    ("W", Power, 1.0, 1),
    ("w", Power, 1.0, 1),
    ("T", Magnetism, 1.0, 1),
    ("ga", Magnetism, 1e-4, 1),
    ("C", Temperature, 1.0, 0),
    ("cel", Temperature, 1.0, 0),
    ("F", Temperature, 1.0, 0),
    ("fah", Temperature, 1.0, 0),
    ("K", Temperature, 1.0, 1),
    ("kel", Temperature, 1.0, 1),
    ("Rank", Temperature, 1.0, 0),
    ("Reau", Temperature, 1.0, 0),
    ("tsp", Volume, GALLON / 768.0, 0),
    ("tspm", Volume, 0.005, 0),
    ("tbs", Volume, GALLON / 256.0, 0),
    ("oz", Volume, GALLON / 128.0, 0),
    ("cup", Volume, GALLON / 16.0, 0),
    ("pt", Volume, GALLON / 8.0, 0),
    ("us_pt", Volume, GALLON / 8.0, 0),
    ("uk_pt", Volume, UK_PINT, 0),
    ("qt", Volume, GALLON / 4.0, 0),
    ("uk_qt", Volume, UK_PINT * 2.0, 0),
    ("gal", Volume, GALLON, 0),
    ("uk_gal", Volume, UK_PINT * 8.0, 0),
    ("l", Volume, 1.0, 1),
    ("L", Volume, 1.0, 1),
    ("lt", Volume, 1.0, 1),
    ("ang3", Volume, 1e-27, 3),
    ("ang^3", Volume, 1e-27, 3),
    ("barrel", Volume, GALLON * 42.0, 0),
    ("bushel", Volume, 35.239_070_166_88, 0),
    ("ft3", Volume, cube(FOOT), 0),
    ("ft^3", Volume, cube(FOOT), 0),
    ("in3", Volume, cube(INCH), 0),
    ("in^3", Volume, cube(INCH), 0),
    ("ly3", Volume, cube(LIGHT_YEAR), 0),
    ("ly^3", Volume, cube(LIGHT_YEAR), 0),
    ("m3", Volume, 1000.0, 3),
    ("m^3", Volume, 1000.0, 3),
    ("mi3", Volume, cube(MILE), 0),
    ("mi^3", Volume, cube(MILE), 0),
    ("yd3", Volume, cube(YARD), 0),
    ("yd^3", Volume, cube(YARD), 0),
    ("Nmi3", Volume, cube(NAUTICAL), 0),
    ("Nmi^3", Volume, cube(NAUTICAL), 0),
    ("Picapt3", Volume, cube(PICA), 0),
    ("Picapt^3", Volume, cube(PICA), 0),
    ("Pica3", Volume, cube(PICA), 0),
    ("Pica^3", Volume, cube(PICA), 0),
    ("GRT", Volume, cube(FOOT) * 100.0, 0),
    ("regton", Volume, cube(FOOT) * 100.0, 0),
    ("MTON", Volume, cube(FOOT) * 40.0, 0),
    ("uk_acre", Area, 4_046.856_422_4, 0),
    ("us_acre", Area, SURVEY * SURVEY / 640.0, 0),
    ("ang2", Area, 1e-20, 2),
    ("ang^2", Area, 1e-20, 2),
    ("ar", Area, 100.0, 1),
    ("ft2", Area, FOOT * FOOT, 0),
    ("ft^2", Area, FOOT * FOOT, 0),
    ("ha", Area, 10_000.0, 0),
    ("in2", Area, INCH * INCH, 0),
    ("in^2", Area, INCH * INCH, 0),
    ("ly2", Area, LIGHT_YEAR * LIGHT_YEAR, 0),
    ("ly^2", Area, LIGHT_YEAR * LIGHT_YEAR, 0),
    ("m2", Area, 1.0, 2),
    ("m^2", Area, 1.0, 2),
    ("Morgen", Area, 2500.0, 0),
    ("mi2", Area, MILE * MILE, 0),
    ("mi^2", Area, MILE * MILE, 0),
    ("Nmi2", Area, NAUTICAL * NAUTICAL, 0),
    ("Nmi^2", Area, NAUTICAL * NAUTICAL, 0),
    ("Picapt2", Area, PICA * PICA, 0),
    ("Pica2", Area, PICA * PICA, 0),
    ("Pica^2", Area, PICA * PICA, 0),
    ("Picapt^2", Area, PICA * PICA, 0),
    ("yd2", Area, YARD * YARD, 0),
    ("yd^2", Area, YARD * YARD, 0),
    ("bit", Information, 1.0, 1),
    ("byte", Information, 8.0, 1),
    ("admkn", Speed, 0.514_773_333_333_333_3, 0),
    ("kn", Speed, NAUTICAL / 3600.0, 0),
    ("m/h", Speed, 1.0 / 3600.0, 1),
    ("m/hr", Speed, 1.0 / 3600.0, 1),
    ("m/s", Speed, 1.0, 1),
    ("m/sec", Speed, 1.0, 1),
    ("mph", Speed, MILE / 3600.0, 0),
];

const PREFIXES: [(&str, f64); 21] = [
    ("Y", 1e24),
    ("Z", 1e21),
    ("E", 1e18),
    ("P", 1e15),
    ("T", 1e12),
    ("G", 1e9),
    ("M", 1e6),
    ("k", 1e3),
    ("h", 1e2),
    ("da", 1e1),
    ("e", 1e1),
    ("d", 1e-1),
    ("c", 1e-2),
    ("m", 1e-3),
    ("u", 1e-6),
    ("n", 1e-9),
    ("p", 1e-12),
    ("f", 1e-15),
    ("a", 1e-18),
    ("z", 1e-21),
    ("y", 1e-24),
];

const BINARY: [(&str, f64); 8] = [
    ("Yi", 1_208_925_819_614_629_174_706_176.0),
    ("Zi", 1_180_591_620_717_411_303_424.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ti", 1_099_511_627_776.0),
    ("Gi", 1_073_741_824.0),
    ("Mi", 1_048_576.0),
    ("ki", 1024.0),
];

/// A unit's name without its prefix, its quantity and its size.
fn unit(text: &str) -> Option<(&'static str, Quantity, f64)> {
    if let Some((name, quantity, size, _)) = UNITS.iter().find(|u| u.0 == text) {
        return Some((name, *quantity, *size));
    }
    let prefixes = PREFIXES.iter().map(|p| (p, false)).chain(BINARY.iter().map(|p| (p, true)));
    for ((prefix, scale), binary) in prefixes {
        let Some(rest) = text.strip_prefix(prefix) else { continue };
        if let Some((name, quantity, size, power)) = UNITS.iter().find(|u| u.0 == rest && u.3 > 0)
            && (!binary || *quantity == Information)
        {
            return Some((name, *quantity, size * (0..*power).fold(1.0, |product, _| product * scale)));
        }
    }
    None
}

fn to_kelvin(name: &str, x: f64) -> f64 {
    match name {
        "C" | "cel" => x + 273.15,
        "F" | "fah" => (x - 32.0) / 1.8 + 273.15,
        "Rank" => x / 1.8,
        "Reau" => x * 1.25 + 273.15,
        _ => x,
    }
}

fn from_kelvin(name: &str, x: f64) -> f64 {
    match name {
        "C" | "cel" => x - 273.15,
        "F" | "fah" => (x - 273.15) * 1.8 + 32.0,
        "Rank" => x * 1.8,
        "Reau" => (x - 273.15) * 0.8,
        _ => x,
    }
}

fn convert(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = args[0].number()?;
    let (from, to) = (args[1].text()?, args[2].text()?);
    let from = unit(&from).ok_or(ErrorValue::NA)?;
    let to = unit(&to).ok_or(ErrorValue::NA)?;
    if from.1 != to.1 {
        return Err(ErrorValue::NA);
    }
    if from.1 != Temperature {
        return Ok(Value::Number(if from.2 == to.2 { x } else { x * from.2 / to.2 }));
    }
    if from.0 == to.0 && from.2 == to.2 {
        return Ok(Value::Number(x));
    }
    // Between degrees of Celsius and Fahrenheit no third scale loses digits.
    let y = match (from.0, to.0) {
        ("C" | "cel", "F" | "fah") => x * 1.8 + 32.0,
        ("F" | "fah", "C" | "cel") => (x - 32.0) / 1.8,
        _ => from_kelvin(to.0, to_kelvin(from.0, x * from.2)) / to.2,
    };
    Ok(Value::Number(y))
}
