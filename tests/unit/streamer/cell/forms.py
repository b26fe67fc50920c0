"""Tables as instruments, their programs and spreadsheets write them, of the same measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

__all__ = ["BEGUN", "FORMS", "Form", "Reading", "measurement", "table"]

BEGUN = datetime(2026, 11, 22, 9, 0, 0)  # noqa: DTZ001 - as the cycler's clock has it
_STEPS = [(0, "Rest"), (1, "CC Chg"), (0, "Rest"), (-1, "CC DChg"), (0, "Rest")]
_MINUTES = 12


@dataclass(frozen=True)
class Reading:
    """What is written on one line."""

    n: int
    step: int
    sign: int
    kind: str
    step_s: int
    total_s: int
    volt: float
    milliamp: float
    milliamp_h: float
    """Net charge since the start."""
    charged_mah: float
    discharged_mah: float

    @property
    def date(self) -> datetime:
        return BEGUN + timedelta(seconds=self.total_s)


def measurement() -> list[Reading]:
    """Rest, charge, rest, discharge and rest; a step begins at the moment the last one ends."""
    readings, total, up, down = [], 0, 0.0, 0.0
    for step, (sign, kind) in enumerate(_STEPS, 1):
        for minute in range(_MINUTES + 1):
            if minute:
                total += 60
                up += max(sign, 0) * 0.5 / 60
                down += max(-sign, 0) * 0.5 / 60
            volt = round(3.7 + 3 * (up - down) + 0.05 * sign, 4)
            readings.append(
                Reading(
                    len(readings) + 1,
                    step,
                    sign,
                    kind,
                    60 * minute,
                    total,
                    volt,
                    0.5 * sign,
                    round(up - down, 7),
                    round(up, 7),
                    round(down, 7),
                )
            )
    return readings


@dataclass(frozen=True)
class Form:
    """How a table of the measurement is written, and what is to be said of it."""

    instrument: str
    what: str
    """Peculiar to it."""
    head: str
    """Lines up to the first reading, each ended by a newline."""
    row: Callable[[Reading], str]
    times: str
    """Begins what the run says of its times."""
    name: str = "cell.csv"
    encoding: str = "utf-8"
    options: dict[str, object] = field(default_factory=dict)
    """Of the configuration, without ``cell.``."""
    has_current: bool = True
    kinds: str = "current"
    """What half-cycles are told by."""
    newline: str = "\r\n"

    def text(self, readings: list[Reading]) -> str:
        return self.head + "".join(f"{self.row(one)}\n" for one in readings)

    def write(self, readings: list[Reading]) -> bytes:
        return self.text(readings).replace("\n", self.newline).encode(self.encoding)


def comma(text: str) -> str:
    return text.replace(".", ",")


def hms(seconds: int, days: str = "") -> str:
    hours, rest = divmod(seconds, 3600)
    clock = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
    return f"{days}{clock}" if days else clock


def unix(r: Reading) -> float:
    return r.date.replace(tzinfo=UTC).timestamp()


def excel(r: Reading) -> float:
    return (r.date - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001


def mpt(date: str, names: str = "mode\ttime/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h\t", lab: str = "EC") -> str:
    lines = [
        f"{lab}-Lab ASCII FILE", "Nb header lines : 7", "",
        "Galvanostatic Cycling with Potential Limitation", "Run on channel : 3 (SN 1234)",
        f"Acquisition started on : {date}", names,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def mpt_row(r: Reading) -> str:
    mode = 3 if not r.sign else 1
    return f"{mode}\t{r.total_s:.6E}\t{r.volt:.7E}\t{r.milliamp:.7E}\t{r.milliamp_h:.7E}"


_ISO = "{:%Y-%m-%d %H:%M:%S}"
_STATE = {0: "R", 1: "C", -1: "D"}
_CHINESE = {"Rest": "搁置", "CC Chg": "恒流充电", "CC DChg": "恒流放电"}
_NEWARE = (
    "DataPoint,Cycle Index,Step Index,Step Type,Time,Total Time,Current(mA),Voltage(V),"
    "Capacity(mAh),Spec. Cap.(mAh/g),Chg. Cap.(mAh),DChg. Cap.(mAh),Energy(Wh),Date,Power(W)\n"
)

FORMS = [
    Form(
        "BioLogic EC-Lab", ".mpt", mpt("11/22/2026 09:00:00.000"), mpt_row,
        "counted from 2026-11-22T09:00:00", "cell.mpt", "latin-1", kinds="cycler, current",
    ),
    Form(
        "BioLogic EC-Lab", ".mpt, decimal commas, date with points",
        mpt("11.22.2026 09:00:00"), lambda r: comma(mpt_row(r)),
        "counted from 2026-11-22T09:00:00", "cell.mpt", "latin-1", kinds="cycler, current",
    ),
    Form(
        "BioLogic EC-Lab", ".mpt, absolute times, average voltage and current",
        mpt("11-22-2026 09:00:00", "mode\ttime/s\t<Ewe>/V\t<I>/mA\tQ charge/discharge/mA.h"),
        lambda r: f"1\t{r.date:%m/%d/%Y %H:%M:%S}.000\t{r.volt}\t{r.milliamp}\t{r.milliamp_h}",
        "dates as month-day-year", "cell.mpt", "latin-1",
    ),
    Form(
        "BioLogic BT-Lab", "text, cell voltage beside both electrodes",
        mpt("11/22/2026 09:00:00", "time/s\tEwe/V\tEce/V\tEwe-Ece/V\tI/mA\t(Q-Qo)/C", "BT"),
        lambda r: f"{r.total_s}\t9\t{9 - r.volt:.4f}\t{r.volt}\t{r.milliamp}\t{3.6 * r.milliamp_h}",
        "counted from 2026-11-22T09:00:00", "cell.txt",
    ),
    Form(
        "Neware BTSDA", "CSV, time of a step beside the date", "\ufeff" + _NEWARE,
        lambda r: (
            f"{r.n},1,{r.step},{r.kind},{hms(r.step_s)},{hms(r.total_s)},{r.milliamp},{r.volt},"
            f"{r.milliamp_h},0,{r.charged_mah},{r.discharged_mah},0,{_ISO.format(r.date)},0"
        ),
        "dates as year-month-day", kinds="cycler",
    ),
    Form(
        "Neware BTSDA", "CSV in Chinese, GBK",
        "记录序号,循环号,工步号,工步类型,时间,总时间,电流(A),电压(V),容量(Ah),绝对时间\n",
        lambda r: (
            f"{r.n},1,{r.step},{_CHINESE[r.kind]},{hms(r.step_s)},{hms(r.total_s)},"
            f"{r.milliamp / 1000:.6f},{r.volt},{r.milliamp_h / 1000:.9f},{_ISO.format(r.date)}"
        ),
        "dates as year-month-day", encoding="gbk", kinds="cycler",
    ),
    Form(
        "Neware BTSDA", "text, no dates, total time as d h:mm:ss",
        "Record ID\tStep\tStep Type\tStep Time(h:min:s)\tTotal Time(h:min:s)\tVoltage(mV)"
        "\tCurrent(µA)\tCapacity(uAh)\n",
        lambda r: (
            f"{r.n}\t{r.step}\t{r.kind}\t{hms(r.step_s)}\t{hms(r.total_s, '0d ')}"
            f"\t{1000 * r.volt:.1f}\t{1000 * r.milliamp:.1f}\t{1000 * r.milliamp_h:.4f}"
        ),
        "counted from 2026-11-22T09:00:00", "cell.txt", "cp1252", {"start": BEGUN}, kinds="cycler",
    ),
    Form(
        "Arbin MITS Pro", "CSV, charge and discharge capacity apart",
        "Data_Point,Date_Time,Test_Time(s),Step_Time(s),Cycle_Index,Step_Index,Current(A),"
        "Voltage(V),Charge_Capacity(Ah),Discharge_Capacity(Ah),Charge_Energy(Wh),dV/dt(V/s)\n",
        lambda r: (
            f"{r.n},\t{r.date:%m/%d/%Y %H:%M:%S.000},{r.total_s}.0,{r.step_s}.0,1,{r.step},"
            f"{r.milliamp / 1000:.7f},{r.volt},{r.charged_mah / 1000:.10f},"
            f"{r.discharged_mah / 1000:.10f},0,0"
        ),
        "dates as month-day-year",
    ),
    Form(
        "Arbin MITS Pro", "CSV, dates as days of a spreadsheet",
        "Data Point,Date Time,Test Time (s),Step Time (s),Current (A),Voltage (V)\n",
        lambda r: f"{r.n},{excel(r):.10f},{r.total_s},{r.step_s},{r.milliamp / 1000},{r.volt}",
        "days as Excel counts",
    ),
    Form(
        "Maccor", "text, currents without a sign, state in a column",
        "Today's Date\t11/23/2026\nDate of Test:\t11/22/2026\tFilename:\tC:\\cell.001\t\n"
        "Rec#\tCyc#\tStep\tTestTime\tStepTime\tAmp-hr\tWatt-hr\tAmps\tVolts\tState\tES\tDPt Time\n",
        lambda r: (
            f"{r.n}\t0\t{r.step}\t  0d {hms(r.total_s)}.00\t  0d {hms(r.step_s)}.00"
            f"\t{r.milliamp_h / 1000:.10f}\t0\t{abs(r.milliamp) / 1000:.7f}\t{r.volt}"
            f"\t{_STATE[r.sign]}\t1\t{r.date:%m/%d/%Y %I:%M:%S %p}"
        ),
        "dates as month-day-year", "cell.txt", kinds="cycler",
    ),
    Form(
        "Landt", "CSV, system time",
        "Record,TestTime,StepTime,Current/mA,Capacity/mAh,SpeCap/mAh/g,Voltage/V,Process,SysTime\n",
        lambda r: (
            f"{r.n},{hms(r.total_s)},{hms(r.step_s)},{r.milliamp},{r.milliamp_h},0,{r.volt},"
            f"{ {0: 'Rest', 1: 'C_CC', -1: 'D_CC'}[r.sign]},{r.date:%Y/%m/%d %H:%M:%S}"
        ),
        "dates as year-month-day", kinds="cycler",
    ),
    Form(
        "Novonix", "CSV behind sections, states as numbers",
        "[Summary]\nCell: 3\nStarted: 2026-11-22 9:00:00 AM\n[End Summary]\n[Data]\n"
        "Date and Time,Cycle Number,Step Type,Run Time (h),Step Time (h),Current (A),"
        "Potential (V),Capacity (Ah),Temperature (°C),Circuit Temperature (°C)\n",
        lambda r: (
            f"{r.date:%Y-%m-%d %I:%M:%S %p},1,{r.step},{r.total_s / 3600:.7f},"
            f"{r.step_s / 3600:.7f},{r.milliamp / 1000},{r.volt},{r.milliamp_h / 1000:.10f},25,25"
        ),
        "dates as year-month-day",
    ),
    Form(
        "Basytec", "text, marks before each line of the head, hours",
        "~Resultfile from Basytec Battery Test System\n~Name of Test: cell\n"
        "~Start of Test: 22.11.2026 09:00:00\n~\n"
        "~Time[h]\tDataSet\tt-Step[h]\tLine\tCommand\tU[V]\tI[A]\tAh[Ah]\tT1[°C]\tState\n",
        lambda r: (
            f"{r.total_s / 3600:.8f}\t{r.n}\t{r.step_s / 3600:.8f}\t1"
            f"\t{ {0: 'Pause', 1: 'Charge', -1: 'Discharge'}[r.sign]}\t{r.volt}"
            f"\t{r.milliamp / 1000}\t{r.milliamp_h / 1000:.10f}\t25\t2"
        ),
        "counted from 2026-11-22T09:00:00", "cell.txt", "latin-1", kinds="cycler",
    ),
    Form(
        "Digatron", "CSV, row of units, state in a column",
        "Time Stamp,Step,Status,Prog Time,Step Time,Cycle,Voltage,Current,AhAccu\n"
        ",,,,,,[V],[A],[Ah]\n",
        lambda r: (
            f"{r.date:%d.%m.%Y %H:%M:%S},{r.step},{ {0: 'PAU', 1: 'CHA', -1: 'DCH'}[r.sign]},"
            f"{hms(r.total_s)},{hms(r.step_s)},1,{r.volt},{r.milliamp / 1000},"
            f"{r.milliamp_h / 1000:.10f}"
        ),
        "dates as day-month-year", kinds="cycler",
    ),
    Form(
        "Battery Data Format", "preferred labels",
        "Test Time / s,Voltage / V,Current / A,Unix Time / s,Cycle Count / 1,Net Capacity / Ah\n",
        lambda r: (
            f"{r.total_s},{r.volt},{r.milliamp / 1000},{unix(r)},1,{r.milliamp_h / 1000:.10f}"
        ),
        "s since 1970",
    ),
    Form(
        "Battery Data Format", "names for machines",
        "test_time_second,voltage_volt,current_ampere,unix_time_second,charging_capacity_ah,"
        "discharging_capacity_ah\n",
        lambda r: (
            f"{r.total_s},{r.volt},{r.milliamp / 1000},{unix(r):.3f},"
            f"{r.charged_mah / 1000:.10f},{r.discharged_mah / 1000:.10f}"
        ),
        "s since 1970", "cell.bdf.csv",
    ),
    Form(
        "LabVIEW", "UTF-16, seconds since 1904",
        "Time\tVoltage/V\tCurrent/mA\n",
        lambda r: f"{unix(r) + 2_082_844_800:.3f}\t{r.volt}\t{r.milliamp}",
        "s since 1904", "cell.txt", "utf-16",
    ),
    Form(
        "spreadsheet", "German: semicolons, decimal commas, d.m.y",
        "Datum;Uhrzeit;Spannung/V;Strom/mA;Kapazität/mAh\n",
        lambda r: comma(f"{r.date:%d.%m.%Y};{r.date:%H:%M:%S};").replace(",", ".")
        + comma(f"{r.volt};{r.milliamp};{r.milliamp_h}"),
        "dates as day-month-year", encoding="cp1252",
    ),
    Form(
        "spreadsheet", "American: m/d/y with AM and PM, quoted",
        '"Time","Voltage (V)","Current (mA)"\n',
        lambda r: f'"{r.date:%m/%d/%Y %I:%M:%S %p}","{r.volt}","{r.milliamp}"',
        "dates as month-day-year",
    ),
    Form(
        "spreadsheet", "row of units below the names", "Time,Voltage,Current\ns,mV,µA\n",
        lambda r: f"{unix(r):.3f},{1000 * r.volt:.1f},{1000 * r.milliamp:.1f}",
        "s since 1970",
    ),
    Form(
        "script", "Unix milliseconds", "timestamp,voltage,current\n",
        lambda r: f"{unix(r) * 1000:.0f},{r.volt},{r.milliamp / 1000}",
        "ms since 1970",
    ),
    Form(
        "script", "ISO dates with a zone, voltage alone", "time_utc,voltage_mv\n",
        lambda r: f"{r.date:%Y-%m-%dT%H:%M:%S}Z,{1000 * r.volt:.1f}",
        "dates as year-month-day", has_current=False, kinds="guess",
    ),
    Form(
        "script", "names of its own", "t_x,U_x,I_x\n",
        lambda r: f"{r.total_s / 60},{r.volt},{r.milliamp}",
        "counted from 2026-11-22T09:00:00",
        options={
            "start": BEGUN,
            "columns": {"time": "t_x [min]", "voltage": "U_x", "current": "I_x [mA]"},
        },
    ),
]  # fmt: skip


def table() -> str:
    """Return the forms as the documentation has them."""
    rows = [f"| {form.instrument} | {form.what} | {form.times} |" for form in FORMS]
    return "\n".join(
        ["| written by | form | times, as the run says them |", "|---|---|---|", *rows]
    )


if __name__ == "__main__":
    print(table())
