"""What the HTML pages share: one head, styles inside, and data that cannot end a script."""

from stfer.pages import fill


def test_a_page_holds_its_styles_scripts_and_data():
    data = {"classes": ["</script><b>"]}
    scripts = ("chart.js", "live.js")
    page = fill("stfer.inference.pages", "live.html", scripts, data, title="a<b", span=30, host="")
    assert page.count("<head>") == page.count("</html>") == 1
    assert "<title>a&lt;b</title>" in page
    assert r'["\u003c/script>\u003cb>"]' in page
    assert page.count("</script>") == 2, "of the data and of the scripts"
    assert "--accent:" in page, "of base.css"
    assert ".watch {" in page, "of the package's own page.css"
    assert "function makeChart" in page
    assert not any(word in page for word in ('src="http', 'href="http', "@import"))
