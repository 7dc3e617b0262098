package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
	"github.com/xuri/excelize/v2"

	"github.com/postrider/postrider/campaign"
)

// importers are the processes of compareImports.
var importers = map[string]func(context.Context, job) (result, error){
	"import-plain": importPlain,
	"import":       importProduct,
	"import-xlsx":  importProduct,
}

// compareImports measures an import into a list against the plain loop that
// most programs have.
func compareImports(rows, runs int, postgres bool, only string) error {
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file, book := filepath.Join(dir, "customers.csv"), filepath.Join(dir, "customers.xlsx")
	if err := writeCustomers(file, rows); err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Printf("importing %d rows of 10 columns (%d MB), %s, %d CPUs, median of %d runs\n\n", rows, info.Size()>>20, runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%-10s %9s %12s %9s %9s\n", "", "seconds", "rows/s", "CPU s", "peak MB")
	speed := map[string]float64{}
	for _, k := range []struct {
		role, title string
		file        string
		rows        int
	}{{"import-plain", "plain loop", file, rows}, {"import", "postrider", file, rows}, {"import-xlsx", "xlsx", book, rows / 5}} {
		if only != "" && only != k.role {
			continue
		}
		if k.file == book {
			if err := writeWorkbook(book, file, k.rows); err != nil {
				return err
			}
		}
		var all []result
		for n := range runs {
			r, err := importOnce(k.role, job{CSV: k.file, Rows: k.rows, Dir: filepath.Join(dir, fmt.Sprint(k.role, n))}, postgres)
			if err != nil {
				return fmt.Errorf("%s: %w", k.title, err)
			}
			all = append(all, r)
		}
		m := median(all)
		speed[k.role] = float64(k.rows) / m.Seconds
		fmt.Printf("%-10s %9.2f %12.0f %9.2f %9.0f\n", k.title, m.Seconds, speed[k.role], m.CPU, m.PeakMB)
	}
	if only == "" {
		fmt.Printf("\npostrider is %.1f times as fast as the plain loop; of the workbook there is a fifth of the rows\n", speed["import"]/speed["import-plain"])
	}
	return nil
}

// importOnce runs one contender and counts what it stored.
func importOnce(role string, j job, postgres bool) (result, error) {
	var r result
	if err := os.MkdirAll(j.Dir, 0o755); err != nil {
		return r, err
	}
	defer os.RemoveAll(j.Dir)
	if postgres {
		end, err := j.onPostgres(context.Background())
		if err != nil {
			return r, err
		}
		defer end()
	}
	if err := measure(role, j, &r); err != nil {
		return r, err
	}
	if r.Accepted != j.Rows {
		return r, fmt.Errorf("%d of %d rows were stored", r.Accepted, j.Rows)
	}
	return r, nil
}

// importProduct is `postrider list import`, without the program around it.
func importProduct(ctx context.Context, j job) (result, error) {
	asTheProgram()
	l, err := openLedger(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	list, err := importList(ctx, l, j.CSV, campaign.ByContact)
	if err != nil {
		return result{}, err
	}
	return result{Accepted: list.Contacts, last: time.Now()}, nil
}

// writeWorkbook writes the first rows of a CSV file as a workbook.
func writeWorkbook(path, file string, rows int) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := csv.NewReader(bufio.NewReaderSize(f, 1<<16))
	book := excelize.NewFile()
	defer func() { err = errors.Join(err, book.Close()) }()
	sheet, err := book.NewStreamWriter("Sheet1")
	if err != nil {
		return err
	}
	for i := range rows + 1 {
		rec, err := in.Read()
		if err != nil {
			return err
		}
		cells := make([]any, len(rec))
		for k, c := range rec {
			cells[k] = c
		}
		if err := sheet.SetRow(fmt.Sprintf("A%d", i+1), cells); err != nil {
			return err
		}
	}
	if err := sheet.Flush(); err != nil {
		return err
	}
	return book.SaveAs(path)
}

// insertRows is how many rows the plain loop inserts with one statement.
const insertRows = 100

// importPlain reads with encoding/csv, parses, checks and formats each number
// with the library, and inserts many rows a statement in one transaction. It
// knows no duplicates and reports no rejects.
func importPlain(ctx context.Context, j job) (_ result, err error) {
	driver, source := "sqlite", "file:"+filepath.Join(j.Dir, "plain.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	if j.Database != "" {
		driver, source = "pgx", j.Database
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	const columns = 10
	if _, err := db.ExecContext(ctx, `CREATE TABLE people (phone TEXT, first_name TEXT, last_name TEXT, email TEXT, street TEXT, city TEXT, state TEXT, postcode TEXT, country TEXT, note TEXT)`); err != nil {
		return result{}, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return result{}, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	insert, err := tx.PrepareContext(ctx, insertInto(columns, insertRows))
	if err != nil {
		return result{}, err
	}
	f, err := os.Open(j.CSV)
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	rows := csv.NewReader(bufio.NewReaderSize(f, 1<<16))
	if _, err := rows.Read(); err != nil {
		return result{}, err
	}
	stored, args := 0, make([]any, 0, columns*insertRows)
	for {
		rec, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return result{}, err
		}
		n, err := phonenumbers.Parse(rec[0], "AU")
		if err != nil || !phonenumbers.IsValidNumber(n) {
			continue
		}
		args = append(args, phonenumbers.Format(n, phonenumbers.E164))
		for _, cell := range rec[1:] {
			args = append(args, cell)
		}
		if stored++; len(args) == cap(args) {
			if _, err := insert.ExecContext(ctx, args...); err != nil {
				return result{}, err
			}
			args = args[:0]
		}
	}
	if len(args) > 0 {
		if _, err := tx.ExecContext(ctx, insertInto(columns, len(args)/columns), args...); err != nil {
			return result{}, err
		}
	}
	if err := tx.Commit(); err != nil {
		return result{}, err
	}
	return result{Accepted: stored, last: time.Now()}, nil
}

func insertInto(columns, rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO people VALUES ")
	for i := range rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for c := range columns {
			if c > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "$%d", i*columns+c+1)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// writeCustomers writes rows of ten columns and some 120 bytes: numbers of four
// countries, two thirds of them in international form, in several spellings.
func writeCustomers(path string, rows int) error {
	return writeRows(path, rows, "Mobile Phone,First Name,Last Name,Email,Street,City,State,Postcode,Country,Note", func(b []byte, i int) []byte {
		country, digits := "Australia", 10_000_000+i
		switch i % 12 {
		case 0, 1:
			b = fmt.Appendf(b, "04%02d %03d %03d", digits/1_000_000, digits/1000%1000, digits%1000)
		case 2:
			b = fmt.Appendf(b, "04%08d", digits)
		case 3:
			b = fmt.Appendf(b, "(04) %04d-%04d", digits/10_000, digits%10_000)
		case 4:
			b, country = fmt.Appendf(b, "+44 7400 %06d", i/12), "United Kingdom"
		case 5:
			b, country = fmt.Appendf(b, "+1 202-%03d-%04d", 200+i/12/10_000, i/12%10_000), "US"
		case 6:
			b, country = fmt.Appendf(b, "+6421%07d", 1_000_000+i/12), "New Zealand"
		case 7, 8:
			b = fmt.Appendf(b, "+61 4%02d %03d %03d", digits/1_000_000, digits/1000%1000, digits%1000)
		default:
			b = fmt.Appendf(b, "+614%08d", digits)
		}
		return fmt.Appendf(b, ",Ann%d,Miller,ann.miller%d@example.com,%d Hill Street,Perth,WA,6%03d,%s,customer since %d gold tier",
			i%977, i, i%400+1, i%1000, country, 1990+i%35)
	})
}
