//go:build e2e

package browser

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

var update = flag.Bool("update", false, "write the pictures of the manual again, in docs/pictures")

// pictureBytes is the most that the file of a picture may have.
const pictureBytes = 80_000

// Picture takes the picture NAME.png of the manual, if pictures are wanted: of the page in a window of this size in
// pixels, or as high as the page is if height is 1. The window has its own size again afterwards.
func (b *Tab) Picture(name string, width, height int64) {
	b.T.Helper()
	if !*update {
		return
	}
	window := Evaluate[[]int64](b, "[window.innerWidth, window.innerHeight]")
	b.Do("size of the picture", chromedp.EmulateViewport(width, height))
	if height == 1 { // a page is at least as high as its window
		high := Evaluate[int64](b, "document.documentElement.scrollHeight")
		b.Do("size of the picture", chromedp.EmulateViewport(width, high))
	}
	taken, err := chromedp.Run(b.Ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.T.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "pictures", name+".png")
	if err := os.WriteFile(path, small(b.T, taken), 0o644); err != nil {
		b.T.Fatal(err)
	}
	b.Do("size of the window", chromedp.EmulateViewport(window[0], window[1]))
}

// small returns the picture in fewer bytes: pages have few colours.
func small(t *testing.T, taken []byte) []byte {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		t.Fatal(err)
	}
	colours := palette(picture)
	paletted := image.NewPaletted(picture.Bounds(), colours)
	draw.Draw(paletted, picture.Bounds(), picture, picture.Bounds().Min, draw.Src)
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, paletted); err != nil {
		t.Fatal(err)
	}
	if out.Len() > pictureBytes {
		t.Errorf("the picture has %d bytes, more than %d", out.Len(), pictureBytes)
	}
	return out.Bytes()
}

// palette are the 256 colours that most of the picture has.
func palette(picture image.Image) color.Palette {
	counts := map[color.Color]int{}
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			counts[color.RGBAModel.Convert(picture.At(x, y))]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	return color.Palette(colours[:min(len(colours), 256)])
}
