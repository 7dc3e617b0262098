package importer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/postrider/postrider/campaign"
)

// audienceWorkbook writes the audience of the benchmarks as a workbook: numbers
// in a format with leading zeros, dates in two formats, one of them with the
// time of day, so that hardly two are alike.
func audienceWorkbook(tb testing.TB, rows int) string {
	tb.Helper()
	f := excelize.NewFile()
	zeros, moment := "0000000000", "yyyy-mm-dd hh:mm:ss"
	style := func(s excelize.Style) int {
		id, err := f.NewStyle(&s)
		if err != nil {
			tb.Fatal(err)
		}
		return id
	}
	phone, day, at := style(excelize.Style{CustomNumFmt: &zeros}), style(excelize.Style{NumFmt: 14}), style(excelize.Style{CustomNumFmt: &moment})
	w, err := f.NewStreamWriter("Sheet1")
	if err != nil {
		tb.Fatal(err)
	}
	put := func(row int, cells ...any) {
		name, _ := excelize.CoordinatesToCellName(1, row)
		if err := w.SetRow(name, cells); err != nil {
			tb.Fatal(err)
		}
	}
	put(1, "phone", "first_name", "last_name", "email", "city", "state", "postcode", "points", "since", "seen")
	for i := range rows {
		put(i+2, excelize.Cell{Value: 412000000 + i, StyleID: phone}, fmt.Sprintf("Ann%d", i%977), "Miller", fmt.Sprintf("ann%d@example.com", i), "Perth", "WA", 6000, i%400,
			excelize.Cell{Value: 40000 + i%5000, StyleID: day}, excelize.Cell{Value: 45000 + float64(i)/86400, StyleID: at})
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "audience.xlsx")
	if err := f.SaveAs(path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// BenchmarkImportWorkbook reads 100,000 rows of ten columns from a workbook.
func BenchmarkImportWorkbook(b *testing.B) {
	const rows = 100_000
	path := audienceWorkbook(b, rows)
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		s := &nowhere{}
		if _, err := Import(b.Context(), f, s, Options{Name: "audience.xlsx", Country: "AU", Identity: campaign.ByNumber}); err != nil {
			b.Fatal(err)
		}
		_ = f.Close()
		if s.n != rows {
			b.Fatalf("%d contacts", s.n)
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkWorkbookRows compares reading rows alone with excelize's own.
func BenchmarkWorkbookRows(b *testing.B) {
	const rows = 100_000
	path := audienceWorkbook(b, rows)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			r, err := newReader(b.Context(), f, Options{MaxRow: 1 << 20}.understanding())
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for ; err == nil; n++ {
				_, _, err = r.read()
			}
			if !errors.Is(err, io.EOF) || n != rows+2 {
				b.Fatal(n, err)
			}
			_ = errors.Join(r.close(), f.Close())
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("excelize", func(b *testing.B) {
		for b.Loop() {
			f, err := excelize.OpenFile(path)
			if err != nil {
				b.Fatal(err)
			}
			r, err := f.Rows("Sheet1")
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for ; r.Next(); n++ {
				if _, err := r.Columns(); err != nil {
					b.Fatal(err)
				}
			}
			if n != rows+1 {
				b.Fatal(n)
			}
			_ = errors.Join(r.Close(), f.Close())
		}
		b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
	})
}
