"use strict"
// Start the editor once while the image is built and ask for its first page, so that V8's compiled code is kept.
// Fails when either does not answer as it should: an image that does not work is never made.
const fs = require("node:fs")
const { flushCompileCache } = require("node:module")

fs.mkdirSync(process.env.HOME, { recursive: true })
process.env.PORT = "18080"
const address = "http://127.0.0.1:18080"

require("/opt/youarecoder/workspace.js").start().then(async () => {
  const health = await fetch(`${address}/healthz`)
  if (health.status !== 200) throw new Error(`/healthz answered ${health.status}`)
  const page = await fetch(`${address}/`)
  const text = await page.text()
  if (page.status !== 200 || !text.includes("workbench")) throw new Error(`/ answered ${page.status}: ${text.slice(0, 500)}`)
  flushCompileCache()
  const kept = fs.readdirSync(process.env.NODE_COMPILE_CACHE, { recursive: true }).length
  if (kept < 100) throw new Error(`only ${kept} compiled files were kept`)
  console.log(`warm: ${kept} compiled files kept`)
  process.exit(0)
}).catch((error) => {
  console.error(error)
  process.exit(1)
})
