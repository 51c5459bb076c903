-- Sets the blocks of the report's Markdown: as calls of Typst's functions, or as HTML. Quarto and pandoc both run it.
local is_typst, is_html = FORMAT == "typst", FORMAT:match("html") ~= nil
if not is_typst and not is_html then return {} end

local SET_BY_TEMPLATE = { masthead = true, facts = true, ["key-figure"] = true, summary = true, remark = true, advice = true, small = true, whole = true }

local function raw(text) return pandoc.RawBlock(FORMAT, text) end

local function wrapped(before, blocks, after)
  local result = pandoc.Blocks({ raw(before) })
  result:extend(blocks)
  result:insert(raw(after))
  return result
end

local function quoted(text) return '"' .. text:gsub("[\\\"]", "\\%0") .. '"' end

local function attribute(text)
  return '"' .. text:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }) .. '"'
end

-- A table of up to so many rows stays on one page.
local MAX_WHOLE_ROWS = 15
-- A table of more columns is wider than a phone.
local MAX_NARROW_COLUMNS = 4

-- Tables first. Their columns are as wide as the block around them says, in hundredths of the text's width.
local tables = {
  Div = function(div)
    if not div.attributes.widths then return nil end
    local widths, is_short = {}, true
    for width in div.attributes.widths:gmatch("%d+") do widths[#widths + 1] = tonumber(width) / 100 end
    div.attributes.widths = nil
    local result = div:walk({
      Table = function(tbl)
        is_short = #tbl.bodies[1].body <= MAX_WHOLE_ROWS
        for i, spec in ipairs(tbl.colspecs) do tbl.colspecs[i] = { spec[1], widths[i] } end
        if is_typst then tbl.classes:insert("typst:no-figure") end -- in a figure it would not break over pages
        return tbl
      end,
    })
    if is_typst and is_short then result.classes = { "whole" } end
    if is_html and #widths > MAX_NARROW_COLUMNS then result.classes:insert("wide") end
    return result
  end,
}

-- Then the one function that takes many blocks, while they are still separate blocks.
local key_figures = {
  Div = function(div)
    if not is_typst or div.classes[1] ~= "key-figures" then return nil end
    local result = pandoc.Blocks({ raw("#key-figures(") })
    for _, figure in ipairs(div.content) do result:extend(wrapped("[", { figure }, "],")) end
    result:insert(raw(")"))
    return result
  end,
}

-- A figure's SVG becomes a part of the page, whose fonts and width it takes.
local function drawing(image)
  local file = assert(io.open(image.src, "r"))
  local svg = file:read("a")
  file:close()
  svg = svg:gsub("^.-(<svg)", "%1", 1):gsub("'Inter'", "Inter, system-ui, sans-serif")
  return (svg:gsub("<svg ", "<svg role=\"img\" aria-label=" .. attribute(image.attributes["fig-alt"]) .. " ", 1))
end

local others = {
  Div = function(div)
    if is_html then return nil end
    local name = div.classes[1]
    if name == "table" then return div.content end
    if SET_BY_TEMPLATE[name] then return wrapped("#" .. name .. "[", div.content, "]") end
  end,
  Figure = function(figure)
    local image
    figure:walk({ Image = function(found) image = found end })
    if is_html then
      if not image.src:match("^figures/[%w_]+%.svg$") then return nil end
      local before = "<figure>" .. drawing(image) .. "<figcaption>"
      return wrapped(before, figure.caption.long, "</figcaption></figure>")
    end
    local start = "#figure(image(" .. quoted(image.src) .. ", width: 100%, alt: "
      .. quoted(image.attributes["fig-alt"]) .. "), caption: ["
    return wrapped(start, figure.caption.long, "])")
  end,
}

return { tables, key_figures, others }
