package ledger

import "testing"

func TestAPushIsFoundAgainUnderItsNameAndAccount(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		here, there := Provider{URL: "https://a.test/v3", User: "1"}, Provider{URL: "https://a.test/v3", User: "2"}
		none, err := w.l.FindPush(w.ctx, "customers", here, "people")
		w.ok(err)
		if none != nil {
			t.Fatalf("a push that never was: %+v", none)
		}
		w.ok(w.l.BeginPush(w.ctx, "customers", here, "people"))
		w.ok(w.l.SetPushed(w.ctx, "customers", here, "people", 0)) // not heard yet
		p, err := w.l.FindPush(w.ctx, "customers", here, "people")
		w.ok(err)
		w.equal(*p, Push{List: "customers", Provider: here, RemoteName: "people", Created: w.clock.Now()})
		w.ok(w.l.SetPushed(w.ctx, "customers", here, "people", 42))
		w.ok(w.l.BeginPush(w.ctx, "customers", here, "people")) // again: nothing changes
		p, err = w.l.FindPush(w.ctx, "customers", here, "people")
		w.ok(err)
		w.equal(p.RemoteID, int64(42))

		w.ok(w.l.BeginPush(w.ctx, "customers", there, "people"))
		for _, other := range []struct {
			list string
			p    Provider
			name string
		}{{"others", here, "people"}, {"customers", here, "others"}} {
			p, err := w.l.FindPush(w.ctx, other.list, other.p, other.name)
			w.ok(err)
			if p != nil {
				t.Errorf("%+v finds %+v", other, p)
			}
		}
		w.ok(w.l.ForgetPushes(w.ctx, there, 42)) // of another account
		p, err = w.l.FindPush(w.ctx, "customers", here, "people")
		w.ok(err)
		w.equal(p.RemoteID, int64(42))
		w.ok(w.l.ForgetPushes(w.ctx, here, 42))
		p, err = w.l.FindPush(w.ctx, "customers", here, "people")
		w.ok(err)
		if p != nil {
			t.Errorf("forgotten, and still there: %+v", p)
		}
	})
}
