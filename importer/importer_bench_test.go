package importer

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/nyaruka/phonenumbers"

	"github.com/postrider/postrider/campaign"
)

// audience makes rows of ten columns, every tenth number in national form: the
// file of the project's benchmark.
func audience(rows int) []byte {
	b, err := io.ReadAll(&manyRows{rows: rows})
	if err != nil {
		panic(err) // it has none
	}
	return b
}

// manyRows is such a file, made as it is read.
type manyRows struct {
	rows, next int
	rest       []byte
}

func (m *manyRows) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.next == m.rows {
			return 0, io.EOF
		}
		m.rest = m.rest[:0]
		if m.next == 0 {
			m.rest = append(m.rest, "phone,first_name,last_name,email,city,state,postcode,tier,points,note\n"...)
		}
		for range min(500, m.rows-m.next) {
			m.rest = appendRow(m.rest, m.next)
			m.next++
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func appendRow(b []byte, i int) []byte {
	if i%10 == 0 {
		b = fmt.Appendf(b, "04%02d %03d %03d", 10+i/1_000_000, i/1000%1000, i%1000)
	} else {
		b = fmt.Appendf(b, "+614%08d", 10000000+i)
	}
	return fmt.Appendf(b, ",Ann%d,Miller,ann%d@example.com,Perth,WA,6000,gold,%d,customer since 2019\n", i%977, i, i%400)
}

// nowhere is a sink that only counts.
type nowhere struct{ n int }

func (s *nowhere) Contacts(_ context.Context, chunk []campaign.Contact) error {
	s.n += len(chunk)
	return nil
}

const benchRows = 1_000_000

// BenchmarkImport reads an audience into a sink that does nothing.
func BenchmarkImport(b *testing.B) {
	file := audience(benchRows)
	b.ReportAllocs()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		s := &nowhere{}
		if _, err := Import(b.Context(), bytes.NewReader(file), s, Options{Name: "audience.csv", Country: "AU", Identity: campaign.ByNumber}); err != nil {
			b.Fatal(err)
		}
		if s.n != benchRows {
			b.Fatalf("%d contacts", s.n)
		}
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkPlainLoop is what Import is held against: encoding/csv and the
// library's parse, check and format for each row, and nothing else.
func BenchmarkPlainLoop(b *testing.B) {
	const rows = benchRows / 10
	file := audience(rows)
	b.ReportAllocs()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		r := csv.NewReader(bytes.NewReader(file))
		r.ReuseRecord = true
		if _, err := r.Read(); err != nil {
			b.Fatal(err)
		}
		n := 0
		for {
			rec, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			p, err := phonenumbers.Parse(rec[0], "AU")
			if err != nil || !phonenumbers.IsValidNumber(p) {
				b.Fatal("an invalid number")
			}
			n += len(phonenumbers.Format(p, phonenumbers.E164))
		}
		if n == 0 {
			b.Fatal("nothing read")
		}
	}
	b.ReportMetric(float64(b.N)*rows/b.Elapsed().Seconds(), "rows/s")
}
