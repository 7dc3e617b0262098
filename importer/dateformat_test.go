package importer

import (
	"testing"

	"pgregory.net/rapid"
)

// The fast path must never differ from excelize.
func TestDatesLookAsExcelizeWritesThem(t *testing.T) {
	t.Parallel()
	codes := []string{
		"yyyy-mm-dd", "dd/mm/yyyy", "d/m/yyyy", "m/d/yy", "dd.mm.yyyy", "dd.mm.yy;@", "yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd hh:mm", "dd.mm.yyyy h:mm",
		"m/d/yyyy h:mm AM/PM", "hh:mm:ss", "h:mm", "mm:ss", "h:mm:ss AM/PM", `yyyy\-mm\-dd`, "yyyy/mm/dd, hh:mm", "DD/MM/YYYY", "hh:mm dd.mm.yyyy", "ss", "mm/yyyy",
	}
	for _, code := range codes {
		if parseDateFormat(code) == nil {
			t.Errorf("%s is not known", code)
		}
	}
	formats := map[bool]*numberFormats{false: newNumberFormats(codes, false), true: newNumberFormats(codes, true)}
	rapid.Check(t, func(t *rapid.T) {
		date1904 := rapid.Bool().Draw(t, "1904")
		n := formats[date1904]
		f := n.styles[rapid.IntRange(0, len(codes)-1).Draw(t, "code")]
		v := float64(rapid.IntRange(61, 100_000).Draw(t, "day"))
		if rapid.Bool().Draw(t, "with a time") {
			v += float64(rapid.IntRange(0, 86399).Draw(t, "second")) / 86400
		}
		got, ok := f.date.append(nil, v, date1904)
		if !ok {
			t.Fatalf("%s of %v is not written", f.code, v)
		}
		want, err := n.write(f, v)
		if err != nil || string(got) != want {
			t.Fatalf("%s of %v is %q, and excelize has %q, %v", f.code, v, got, want, err)
		}
	})
}

func TestFormatsThatAreNotOnlyNumbersAreLeftToExcelize(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"d-mmm-yy", "dddd", "[h]:mm:ss", "mm:ss.0", `"on" yyyy`, "[$-409]d/m/yy", "yyyyy", "0.00", "", "- -", "y"} {
		if f := parseDateFormat(code); f != nil {
			t.Errorf("%q is %v", code, f)
		}
	}
}
