//go:build race

package jobs

// raceDetector says that the tests were built with it.
const raceDetector = true

// RaceDetector is raceDetector for the tests from outside.
const RaceDetector = raceDetector
