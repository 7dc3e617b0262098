package services

import "testing"

func TestMain(m *testing.M) { Main(m, NoLeaks()) }
