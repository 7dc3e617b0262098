package sandbox

import (
	"slices"
	"testing"
)

func TestARouteHandsOverEveryParameterOfItsPath(t *testing.T) {
	t.Parallel()
	var routes router
	routes.add(route{method: "GET", pattern: "/lists/{list_id}/contacts/{contact_id}"})
	routes.add(route{method: "GET", pattern: "/lists/{list_id}/contacts"})
	routes.add(route{method: "GET", pattern: "/lists"})
	for path, want := range map[string][]string{
		"/lists/4/contacts/17":  {"4", "17"},
		"/lists/4/contacts/17/": {"4", "17"},
		"/lists/4/contacts":     {"4"},
		"/lists":                nil,
	} {
		if r, params, _ := routes.find("GET", path); r == nil || !slices.Equal(params, want) {
			t.Errorf("GET %s finds %v with %q, want %q", path, r, params, want)
		}
	}
	if r, params, known := routes.find("PUT", "/lists/4/contacts/17"); r != nil || !known || len(params) != 2 {
		t.Errorf("another method: %v, %q, %v", r, params, known)
	}
	for _, path := range []string{"/lists/4/contacts/17/more", "/lists//contacts/17", "/nothing"} {
		if r, _, known := routes.find("GET", path); r != nil || known {
			t.Errorf("GET %s finds %v", path, r)
		}
	}
}
